"""The game's addresses."""

from __future__ import annotations

from django.urls import path

from idiolect.game.own_model import views as own_model
from idiolect.game.views import boards, challenges, home, own, pairs, rounds

app_name = "game"
urlpatterns = [
    path("", home.home, name="home"),
    path("notice/", home.notice, name="notice"),
    path("play/", rounds.play, name="play"),
    path("rounds/<uuid:round_id>/", rounds.round_page, name="round"),
    path("rounds/<uuid:round_id>/skip/", rounds.skip, name="skip"),
    path("nym-or-not/", pairs.intro, name="pairs"),
    path("nym-or-not/<uuid:sitting_id>/", pairs.sitting_page, name="sitting"),
    path("my-model/", own_model.model, name="model"),
    path("my-model/delete/", own_model.forget, name="model-forget"),
    path("rounds/<uuid:round_id>/model/", own_model.answers, name="model-answers"),
    path("leaders/", boards.leaders, name="leaders"),
    path("history/", own.history, name="history"),
    path("challenges/", challenges.own, name="challenges"),
    path("answers/<int:answer_id>/challenge/", challenges.challenge, name="challenge"),
]
