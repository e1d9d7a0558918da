"""Tests of the game's JSON API."""

from __future__ import annotations

import pytest
from django.test import Client

from idiolect.web.accounts.models import User
from idiolect.web.game import consent
from support.game_site import log_in_with_consent, play_round

pytestmark = pytest.mark.django_db


@pytest.mark.finding("http-held")
def test_my_plays_returns_only_own_plays(site: Client, ann: User) -> None:
    assert site.get("/nyms/api/my-plays.json").status_code == 401
    play_round(ann, ["shrimp"])
    found = log_in_with_consent(site, ann).get("/nyms/api/my-plays.json").json()
    assert [r["base_word"] for r in found["rounds"]] == ["seafood"]
    assert found["totals"] == [
        {"untimed": False, "rounds": 1, "points": found["rounds"][0]["score"]}
    ]
    assert found["consents"][0]["version"] == consent.NOTICE_VERSION


def test_leaders_is_public_and_omits_rounds_without_answers(
    site: Client, ann: User, ben: User
) -> None:
    play_round(ann, ["shrimp"])
    play_round(ben, ["", "seafood"])
    found = site.get("/nyms/api/leaders", {"board": "rounds"}).json()
    assert found == {
        "rows": [{"rank": 1, "player": "ann", "value": 1.0}],
        "own": None,
        "players": 1,
    }
    # A signed-in player also gets their own row.
    own = log_in_with_consent(site, ann).get("/nyms/api/leaders", {"board": "total"}).json()["own"]
    assert own["player"] == "ann" and own["rank"] == 1
    assert site.get("/nyms/api/leaders", {"board": "wealth"}).status_code == 422


def test_api_serves_schema_but_no_docs_page(site: Client) -> None:
    paths = site.get("/nyms/api/openapi.json").json()["paths"]
    assert set(paths) == {"/nyms/api/my-plays.json", "/nyms/api/leaders"}
    assert site.get("/nyms/api/docs").status_code == 404
