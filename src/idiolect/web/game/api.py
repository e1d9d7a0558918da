"""The game as JSON: a player's own plays, and the leaderboards. Its description is `openapi.json`.

Reads a request and calls one service, as the pages do.
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
    docs_url=None,  # its page loads scripts from other hosts
    urls_namespace="nyms-api",
)


class AnswerOut(Schema):
    """An answer that counted, and what it was worth."""

    answer: str
    agreement: int
    bonus: int
    why: str


class RoundOut(Schema):
    """One word put to the player."""

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
    """What the player said of a pair in Nym or Not."""

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
    """A sentence for an answer, and its verdict."""

    relation: str
    base_word: str
    answer: str
    sentence: str
    verdict: str
    made_at: str
    decided_at: str | None


class ConsentOut(Schema):
    """That the player agreed to the notice."""

    version: int
    agreed_at: str


class TotalOut(Schema):
    """Sums over the player's rounds with an answer."""

    untimed: bool
    rounds: int
    points: int


class PlaysOut(Schema):
    """Everything the game keeps of a player."""

    format: str
    consents: list[ConsentOut]
    totals: list[TotalOut]
    rounds: list[RoundOut]
    nym_or_not: list[PairSessionOut]
    challenges: list[ChallengeOut]


class LeaderboardRowOut(Schema):
    """A row of a leaderboard."""

    rank: int
    player: str
    value: float


class LeaderboardOut(Schema):
    """The best of a board, and one's own row wherever it is."""

    rows: list[LeaderboardRowOut]
    own: LeaderboardRowOut | None
    players: int


@api.get("/my-plays.json", response=PlaysOut, auth=django_auth, url_name="plays")
def download_plays(request: HttpRequest, response: HttpResponse) -> Any:
    """Everything the game keeps of the player who is signed in, or a guest, as a file."""
    response["Content-Disposition"] = 'attachment; filename="my-plays.json"'
    return personal_export.export_player(get_current_player(request))


@api.get("/leaders", response=LeaderboardOut, url_name="leaders")
def get_leaderboard(
    request: HttpRequest, board: LeaderboardKind = LeaderboardKind.AVERAGE, untimed: bool = False
) -> Any:
    """Who leads: by average, total or rounds."""
    return leaderboards.get_leaderboard(board, get_current_player(request), untimed=untimed)
