"""Tests of the number of database queries per page of a round."""

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


def count_queries(
    client: Client, path: str, fields: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """Returns the number of a request's queries, without transactions, and its response."""
    with CaptureQueriesContext(connection) as asked:
        found = client.get(path) if fields is None else client.post(path, fields)
    return sum(1 for q in asked.captured_queries if not q["sql"].startswith(PLAIN)), found


def test_round_pages_run_constant_number_of_queries(ann: User) -> None:
    client = log_in_with_consent(Client(headers={"host": "localhost"}), ann)
    for player in create_guests(4):
        play_round(player, ["shrimp", "lobster"])
    # Fill the caches first: the session stores the consent, and each query is compiled once.
    client.get("/nyms/my-model/")
    for _ in range(2):
        client.post("/nyms/play/", {"relation": "hyponyms"})
        Round.objects.filter(state=State.OPEN).delete()
    counts: list[tuple[int, ...]] = []
    for _ in range(3):
        started, answer = count_queries(client, "/nyms/play/", {})
        path = answer["Location"]
        question, _ = count_queries(client, path)
        scored, _ = count_queries(client, path, {"answer": ["shrimp", "boat", "lobster", "net"]})
        result, page = count_queries(client, path)
        assert b'class="points"' in page.content
        counts.append((started, question, scored, result))
    lock = int(connection.features.has_select_for_update)
    # Each request loads the session and the player, and each POST checks the rate limit; then come
    # the page's own queries. The first round also creates the row of the player's score, and a
    # start may create the row of a new word. The cache of words is off in these tests.
    assert max(started for started, *_ in counts) <= 10
    assert {question for _, question, *_ in counts} == {4}
    assert [scored for *_, scored, _ in counts] == [15 + lock, *[12 + lock] * 2]
    assert {result for *_, result in counts} == {6}
