"""The game's JSON API: a player's own plays, and the leaderboards.

Like the pages, each function reads a request and calls one service. `openapi.json` describes the
API.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.security import django_auth

from idiolect.game.rules.standings import LeaderboardKind
from idiolect.web.accounts.players import get_current_player
from idiolect.web.game import leaderboards, personal_export

api = NinjaAPI(
    title="KnowYourNyms",
    version="1",
    docs_url=None,  # The documentation page would load scripts from other hosts.
    urls_namespace="nyms-api",
)


# The schemas below describe the values of `personal_export.export_player` and
# `leaderboards.get_leaderboard`; keep them in step.


class AnswerOut(Schema):
    """An answer that counted, and its points."""

    answer: str
    agreement: int
    bonus: int
    why: str


class RoundOut(Schema):
    """One round: a word that the player was asked, and their answers."""

    id: str
    relation: str
    base_word: str
    state: str
    untimed: bool
    started_at: str
    ended_at: str | None
    score: int
    round_bonus: int
    answers: list[AnswerOut]


class VoteOut(Schema):
    """The player's vote on a pair in Nym or Not."""

    relation: str
    base_word: str
    answer: str
    yes: bool
    points: int


class PairSessionOut(Schema):
    """One game of Nym or Not."""

    id: str
    state: str
    untimed: bool
    started_at: str
    ended_at: str | None
    score: int
    votes: list[VoteOut]


class ChallengeOut(Schema):
    """A challenge: a sentence that defends an answer, and the moderator's verdict."""

    relation: str
    base_word: str
    answer: str
    sentence: str
    verdict: str
    made_at: str
    decided_at: str | None


class ConsentOut(Schema):
    """The player's consent to one version of the notice."""

    version: int
    agreed_at: str


class TotalOut(Schema):
    """Sums over the player's rounds that have an answer."""

    untimed: bool
    rounds: int
    points: int


class PlaysOut(Schema):
    """All data that the game stores about a player."""

    format: str
    consents: list[ConsentOut]
    totals: list[TotalOut]
    rounds: list[RoundOut]
    nym_or_not: list[PairSessionOut]
    challenges: list[ChallengeOut]


class LeaderboardRowOut(Schema):
    """One row of a leaderboard."""

    rank: int
    player: str
    value: float


class LeaderboardOut(Schema):
    """The top rows of a leaderboard, and the player's own row at any rank."""

    rows: list[LeaderboardRowOut]
    own: LeaderboardRowOut | None
    players: int


@api.get("/my-plays.json", response=PlaysOut, auth=django_auth, url_name="plays")
def download_plays(request: HttpRequest, response: HttpResponse) -> Any:
    """Download all data that the game stores about the current player or guest, as a file."""
    response["Content-Disposition"] = 'attachment; filename="my-plays.json"'
    return personal_export.export_player(get_current_player(request))


@api.get("/leaders", response=LeaderboardOut, url_name="leaders")
def get_leaderboard(
    request: HttpRequest, board: LeaderboardKind = LeaderboardKind.AVERAGE, untimed: bool = False
) -> Any:
    """Return a leaderboard: by average, total points or number of rounds."""
    return leaderboards.get_leaderboard(board, get_current_player(request), untimed=untimed)
