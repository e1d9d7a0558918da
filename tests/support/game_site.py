"""Players, rounds and requests for tests of the game's site, with a database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.test import Client

from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import consent, rounds
from idiolect.web.game.models import PairSession, Round, Word

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
"""Answers to "kinds of seafood" in the original game, with the number of players out of 60."""

PAIR = {"relation": "hyponyms", "base": "seafood", "answer": "wheelbarrow", "likely": 0.5}
"""A pair of Nym or Not whose truth is open."""


def create_guests(count: int) -> list[User]:
    """Creates ``count`` guests."""
    return [User.objects.create_guest() for _ in range(count)]


def open_round(
    player: User,
    base: str = "seafood",
    relation: Relation = Relation.HYPONYMS,
    *,
    untimed: bool = False,
    ago: float = 0.0,
) -> Round:
    """Opens a round for the player on this word; it started ``ago`` seconds ago."""
    word, _ = Word.objects.get_or_create(relation=relation.value, base=base)
    round_ = Round.objects.create(player=player, word=word, untimed=untimed, difficulty=0.5)
    set_back_clock(round_, ago)
    return round_


def set_back_clock(game: Round | PairSession, ago: float) -> None:
    """Moves the start of a round or a game of pairs ``ago`` seconds back."""
    started_at = F("started_at") - timedelta(seconds=ago)
    type(game).objects.filter(pk=game.pk).update(started_at=started_at)


def play_round(
    player: User, answers: Sequence[str], base: str = "seafood", **options: Any
) -> Round:
    """Plays a round on this word to its end; ``options`` are those of ``open_round``."""
    return rounds.submit_answers(player, open_round(player, base, **options).pk, answers)


def create_pair_session(
    player: User, *pairs: Mapping[str, object], ago: float = 0.0
) -> PairSession:
    """Opens a game of Nym or Not on these pairs; it started ``ago`` seconds ago."""
    pair_session = PairSession.objects.create(player=player, pairs=list(pairs))
    started_at = F("started_at") - timedelta(seconds=ago)
    PairSession.objects.filter(pk=pair_session.pk).update(started_at=started_at)
    return pair_session


def log_in_with_consent(client: Client, player: User) -> Client:
    """Signs the client in as this player, who has agreed to the notice."""
    consent.record_consent(player)
    client.force_login(player)
    return client


def get_csrf_token(client: Client, path: str) -> str:
    """Reads the CSRF token of the page at ``path``."""
    page = client.get(path).content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found[1]


def post_form(client: Client, path: str, fields: dict[str, Any], *, at: str = "/nyms/") -> Any:
    """Posts a form as a browser on the page ``at`` would, with that page's CSRF token."""
    return client.post(path, fields | {"csrfmiddlewaretoken": get_csrf_token(client, at)})
