"""URLs of the game's JSON API."""

from __future__ import annotations

from idiolect.web.game.api import api

urlpatterns = api.urls[0]
app_name = api.urls_namespace
