"""What a round asks the database: its pages are to stay as cheap as they are."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from idiolect.web.accounts.models import User
from idiolect.web.game.models import Round, State
from support.game_site import create_guests, log_in_with_consent, play_round

pytestmark = pytest.mark.django_db
PLAIN = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


def asks(client: Client, path: str, fields: dict[str, Any] | None = None) -> tuple[int, Any]:
    """How many queries a request takes, transactions apart, and its answer."""
    with CaptureQueriesContext(connection) as asked:
        found = client.get(path) if fields is None else client.post(path, fields)
    return sum(1 for q in asked.captured_queries if not q["sql"].startswith(PLAIN)), found


def test_a_round_takes_few_queries_however_much_was_played(ann: User) -> None:
    client = log_in_with_consent(Client(headers={"host": "localhost"}), ann)
    for player in create_guests(4):
        play_round(player, ["shrimp", "lobster"])
    client.get("/nyms/my-model/")  # the session remembers the agreement from here on
    for _ in range(2):
        client.post("/nyms/play/", {"relation": "hyponyms"})
        Round.objects.filter(state=State.OPEN).delete()
    counts: list[tuple[int, ...]] = []
    for _ in range(3):
        started, answer = asks(client, "/nyms/play/", {})
        path = answer["Location"]
        question, _ = asks(client, path)
        scored, _ = asks(client, path, {"answer": ["shrimp", "boat", "lobster", "net"]})
        result, page = asks(client, path)
        assert b'class="points"' in page.content
        counts.append((started, question, scored, result))
    lock = int(connection.features.has_select_for_update)
    # Session, player and, where something is sent, its pace; then the page's own. A word that
    # nobody was asked before and a player's first total are looked for and made; words' sums are
    # read at every start here.
    assert max(started for started, *_ in counts) <= 10
    assert {question for _, question, *_ in counts} == {4}
    assert [scored for *_, scored, _ in counts] == [15 + lock, *[12 + lock] * 2]
    assert {result for *_, result in counts} == {6}
