"""Rounds in the database for tests: on a word of the test's choice, begun when it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.test import Client

from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import consent, rounds
from idiolect.web.game.models import Round, Word

SEAFOOD = {
    "fish": 54,
    "shrimp": 53,
    "lobster": 38,
    "crab": 36,
    "clams": 24,
    "salmon": 17,
    "oysters": 12,
    "scallops": 12,
    "shellfish": 10,
    "mussels": 10,
}
"""Answers to "kinds of seafood" in the original game, and how many players gave each."""


def create_guests(count: int) -> list[User]:
    """So many guests."""
    return [User.objects.create_guest() for _ in range(count)]


def open_round(
    player: User,
    base: str = "seafood",
    relation: Relation = Relation.HYPONYMS,
    *,
    untimed: bool = False,
    ago: float = 0.0,
) -> Round:
    """A round of the player's on this word, started ``ago`` seconds ago."""
    word, _ = Word.objects.get_or_create(relation=relation.value, base=base)
    made = Round.objects.create(player=player, word=word, untimed=untimed, difficulty=0.5)
    set_back_clock(made, ago)
    return made


def set_back_clock(round_: Round, ago: float) -> None:
    """Set the clock of a round back."""
    Round.objects.filter(pk=round_.pk).update(started_at=F("started_at") - timedelta(seconds=ago))


def play_round(player: User, answers: Sequence[str], base: str = "seafood", **how: Any) -> Round:
    """A round played to its end."""
    return rounds.submit_answers(player, open_round(player, base, **how).pk, answers)


def log_in_with_consent(client: Client, player: User) -> Client:
    """The client as this player's browser, after the notice."""
    consent.record_consent(player)
    client.force_login(player)
    return client


def get_csrf_token(client: Client, path: str) -> str:
    """The CSRF token of a page."""
    page = client.get(path).content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found[1]


def post_form(client: Client, path: str, fields: dict[str, Any], *, at: str = "/nyms/") -> Any:
    """Send a form as a browser would that has the page ``at`` open."""
    return client.post(path, fields | {"csrfmiddlewaretoken": get_csrf_token(client, at)})
