"""URLs of the pages of a player's own model, below the game's URLs."""

from __future__ import annotations

from django.urls import path

from idiolect.web.my_model import views

app_name = "my_model"
urlpatterns = [
    path("my-model/", views.show_model, name="model"),
    path("my-model/delete/", views.delete_model, name="forget"),
    path("rounds/<uuid:round_id>/model/", views.show_answers, name="answers"),
]
