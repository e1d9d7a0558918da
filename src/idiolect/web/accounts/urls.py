"""The URLs of accounts."""

from __future__ import annotations

from django.urls import path

from idiolect.web.accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-up/", views.sign_up, name="sign-up"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("account/", views.show_account, name="account"),
    path("account/password/", views.change_password, name="password"),
    path("account/export/", views.export_account, name="export"),
    path("account/delete/", views.delete_account, name="delete"),
]
