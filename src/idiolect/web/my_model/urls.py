"""The addresses of the pages of a player's own model, below those of the game."""

from __future__ import annotations

from django.urls import path

from idiolect.web.my_model import views

app_name = "my_model"
urlpatterns = [
    path("my-model/", views.model, name="model"),
    path("my-model/delete/", views.forget, name="forget"),
    path("rounds/<uuid:round_id>/model/", views.answers, name="answers"),
]
