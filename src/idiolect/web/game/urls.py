"""URLs of the game's pages."""

from __future__ import annotations

from django.urls import path

from idiolect.web.game.views import boards, challenges, home, own, pairs, rounds

app_name = "game"
urlpatterns = [
    path("", home.show_home, name="home"),
    path("notice/", home.show_notice, name="notice"),
    path("play/", rounds.play_round, name="play"),
    path("rounds/<uuid:round_id>/", rounds.show_round, name="round"),
    path("rounds/<uuid:round_id>/skip/", rounds.skip_round, name="skip"),
    path("nym-or-not/", pairs.show_intro, name="pairs"),
    path("nym-or-not/<uuid:pair_session_id>/", pairs.show_pair_session, name="sitting"),
    path("leaders/", boards.show_leaderboard, name="leaders"),
    path("history/", own.show_history, name="history"),
    path("challenges/", challenges.show_challenges, name="challenges"),
    path("answers/<int:answer_id>/challenge/", challenges.challenge_answer, name="challenge"),
]
