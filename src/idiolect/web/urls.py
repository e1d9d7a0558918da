"""The URLs of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from idiolect.web import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="game:home"), name="home"),
    path("nyms/api/", include("idiolect.web.game.api_urls")),
    path("nyms/", include("idiolect.web.game.urls")),
    path("nyms/", include("idiolect.web.my_model.urls")),
    path("healthz", views.healthz, name="healthz"),
    # Moderators use the same sign-in form as all people, so that its rate limits apply to them.
    path("admin/login/", RedirectView.as_view(pattern_name="accounts:sign-in", query_string=True)),
    path("admin/", admin.site.urls),
    path("", include("idiolect.web.accounts.urls")),
]

# Django looks up these names for its error pages.
handler400 = views.bad_request
handler403 = views.permission_denied
handler404 = views.page_not_found
handler500 = views.server_error
