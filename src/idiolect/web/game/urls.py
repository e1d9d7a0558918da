"""The game's addresses."""

from __future__ import annotations

from django.urls import path

from idiolect.web.game.views import boards, challenges, home, own, pairs, rounds

app_name = "game"
urlpatterns = [
    path("", home.home, name="home"),
    path("notice/", home.notice, name="notice"),
    path("play/", rounds.play, name="play"),
    path("rounds/<uuid:round_id>/", rounds.round_page, name="round"),
    path("rounds/<uuid:round_id>/skip/", rounds.skip, name="skip"),
    path("nym-or-not/", pairs.intro, name="pairs"),
    path("nym-or-not/<uuid:sitting_id>/", pairs.sitting_page, name="sitting"),
    path("leaders/", boards.leaders, name="leaders"),
    path("history/", own.history, name="history"),
    path("challenges/", challenges.own, name="challenges"),
    path("answers/<int:answer_id>/challenge/", challenges.challenge, name="challenge"),
]
