"""Tests of the game's pages with plain requests, from browsers without scripts and from cheats."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import rounds
from idiolect.web.game.models import Answer, Consent, PairSession, PlayerScore, Round, State, Word
from support.game_site import (
    create_guests,
    get_csrf_token,
    log_in_with_consent,
    open_round,
    play_round,
    post_form,
    set_back_clock,
)

pytestmark = pytest.mark.django_db


def get_page(client: Client, path: str) -> str:
    """Returns the text of the page at ``path``, which must exist."""
    found = client.get(path)
    assert found.status_code == 200, (path, found.status_code)
    return found.content.decode()


def test_notice_page_creates_guest_on_consent(site: Client) -> None:
    assert "Play" in get_page(site, "/nyms/")
    asked = post_form(site, "/nyms/play/", {"relation": ["meronyms"]})
    assert asked.url == "/nyms/notice/"
    # No account exists before the visitor agrees.
    assert not User.objects.exists() and not Round.objects.exists()
    began_at = post_form(site, "/nyms/notice/", {}, at="/nyms/notice/").url
    round_ = Round.objects.get()
    assert began_at == f"/nyms/rounds/{round_.pk}/"
    assert round_.word.relation == "meronyms" and round_.player.is_guest
    assert Consent.objects.get().player == round_.player
    assert round_.word.base in get_page(site, began_at)


def test_sign_up_keeps_guest_round(site: Client) -> None:
    at = post_form(site, "/nyms/notice/", {}, at="/nyms/notice/").url
    assert post_form(site, at, {"answer": ["one", "two"]}, at=at).url == at
    assert "Your answers" in get_page(site, at)
    post_form(
        site, "/sign-up/", {"username": "cleo", "password": "correct horse battery"}, at="/sign-up/"
    )
    cleo = User.objects.get(username="cleo")
    assert Round.objects.get().player == cleo
    assert "two" in get_page(site, "/nyms/history/")


@pytest.mark.parametrize("path", ["/nyms/history/", "/nyms/challenges/", "/nyms/rounds/{id}/"])
def test_player_pages_redirect_visitors_to_notice(site: Client, ann: User, path: str) -> None:
    round_ = open_round(ann)
    assert site.get(path.format(id=round_.pk)).headers["Location"] == "/nyms/notice/"


@pytest.mark.finding("http-held")
def test_round_page_ignores_forged_word_and_score(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, "seafood")
    forged = {
        "answer": ["lion"],
        "word": "cat",
        "base": "cat",
        "relation": "hyponyms",
        "score": "9999",
        "untimed": "on",
        "started_at": "2000-01-01",
    }
    post_form(site, f"/nyms/rounds/{round_.pk}/", forged)
    round_.refresh_from_db()
    assert round_.word.base == "seafood" and not round_.untimed
    assert Answer.objects.get().bonus == 0
    assert not Word.objects.filter(base="cat").exists()


def test_round_page_explains_late_answers(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, ago=60)
    late = post_form(site, f"/nyms/rounds/{round_.pk}/", {"answer": ["shrimp"]})
    assert late.status_code == 409 and b"after the round had ended" in late.content
    assert "Time was up" in get_page(site, f"/nyms/rounds/{round_.pk}/")
    assert not Answer.objects.exists()


def test_round_page_replay_keeps_first_result(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    for answers in (["shrimp"], ["shrimp", "lobster", "crab"]):
        post_form(site, f"/nyms/rounds/{round_.pk}/", {"answer": answers})
    assert Answer.objects.count() == 1
    assert PlayerScore.objects.get().rounds == 1


@pytest.mark.finding("http-held")
def test_round_page_hides_rounds_of_other_players(site: Client, ann: User, ben: User) -> None:
    round_ = open_round(ben)
    log_in_with_consent(site, ann)
    at = f"/nyms/rounds/{round_.pk}/"
    assert site.get(at).status_code == 404
    assert post_form(site, at, {"answer": ["shrimp"]}).status_code == 404
    assert post_form(site, f"{at}skip/", {}).status_code == 404
    round_.refresh_from_db()
    assert round_.state == State.OPEN


@pytest.mark.finding("http-held")
def test_game_forms_require_csrf_token(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    assert site.post(f"/nyms/rounds/{round_.pk}/", {"answer": "shrimp"}).status_code == 403
    assert site.post("/nyms/play/").status_code == 403
    round_.refresh_from_db()
    assert round_.state == State.OPEN


SCRIPT = "<script>alert(1)</script>"
SQL = "x'); DROP TABLE game_answer;--"


@pytest.mark.finding("http-held")
def test_pages_escape_scripts_and_sql_in_answers(site: Client, ann: User) -> None:
    for player in create_guests(3):
        play_round(player, [SCRIPT, SQL])
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    post_form(
        site, f"/nyms/rounds/{round_.pk}/", {"answer": [SCRIPT, SQL, "<img src=x onerror=a()>"]}
    )
    for path in (f"/nyms/rounds/{round_.pk}/", "/nyms/history/"):
        shown = get_page(site, path)
        assert "<script>a" not in shown and "<img" not in shown and "script" in shown
    assert Answer.objects.count() == 9
    assert [a.agreement for a in Answer.objects.filter(player=ann)] == [100, 100, 0]


def test_round_page_limits_number_of_answers(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    # Django refuses a form with too many fields; below that limit, the game cuts the answers.
    many = {"answer": [f"answer{n}" for n in range(10_000)]}
    assert post_form(site, f"/nyms/rounds/{round_.pk}/", many).status_code == 400
    round_.refresh_from_db()
    assert round_.state == State.OPEN
    post_form(site, f"/nyms/rounds/{round_.pk}/", {"answer": [f"answer{n}" for n in range(400)]})
    assert Answer.objects.count() == 60


def test_round_page_limits_length_of_answers(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    assert post_form(site, f"/nyms/rounds/{round_.pk}/", {"answer": "a" * 2**20}).status_code == 400
    post_form(site, f"/nyms/rounds/{round_.pk}/", {"answer": "a\0b" + "é" * 50_000})
    assert len(Answer.objects.get().text) == 50


def test_get_requests_change_nothing(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    for path in ("", "play/", "history/", "leaders/", "nym-or-not/", f"rounds/{round_.pk}/"):
        site.get(f"/nyms/{path}")
    assert site.get(f"/nyms/rounds/{round_.pk}/skip/").status_code == 405
    assert Round.objects.count() == 1 and not PairSession.objects.exists()
    round_.refresh_from_db()
    assert round_.state == State.OPEN


def test_play_page_remembers_choices(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    post_form(site, "/nyms/play/", {"relation": ["antonyms"], "untimed": "on"})
    round_ = Round.objects.get()
    assert round_.untimed and round_.word.relation == "antonyms"
    post_form(site, f"/nyms/rounds/{round_.pk}/skip/", {})
    # A form without relations uses the stored choices.
    post_form(site, "/nyms/play/", {})
    assert {r.word.relation for r in Round.objects.all()} == {"antonyms"}
    # Unknown relations are ignored.
    post_form(site, "/nyms/play/", {"relation": ["astrology"]})
    assert rounds.find_open_round(ann) is not None


def test_skip_page_starts_next_round(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    onward = post_form(site, f"/nyms/rounds/{round_.pk}/skip/", {}).url
    assert onward != f"/nyms/rounds/{round_.pk}/" and onward.startswith("/nyms/rounds/")
    assert "skipped" in get_page(site, f"/nyms/rounds/{round_.pk}/")


def test_notice_page_continues_to_nym_or_not(site: Client) -> None:
    begin = "/nyms/nym-or-not/"
    notice = post_form(site, begin, {"untimed": "on"}, at=begin).url
    assert notice == "/nyms/notice/?for=pairs" and not User.objects.exists()
    at = post_form(site, "/nyms/notice/", {"for": "pairs"}, at=notice).url
    pair_session = PairSession.objects.get()
    assert at == f"{begin}{pair_session.pk}/" and pair_session.untimed
    assert not Round.objects.exists()


def test_pair_session_page_works_without_scripts(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    at = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    assert get_page(site, at).count('type="radio"') == 50
    post_form(site, at, {"vote-0": "y", "vote-3": "n", "vote-4": "maybe", "vote-99": "y"}, at=at)
    pair_session = PairSession.objects.get()
    assert [vote.position for vote in pair_session.votes.all()] == [0, 3]
    assert "You judged 2 pairs" in get_page(site, at)


def test_result_page_shows_others_and_wordnet_answers(site: Client, ann: User) -> None:
    for player in create_guests(3):
        play_round(player, ["apple", "wheelbarrow"], "fruit")
    log_in_with_consent(site, ann)
    round_ = play_round(ann, ["apple", "cart"], "fruit")
    shown = get_page(site, f"/nyms/rounds/{round_.pk}/")
    assert "75 %" in shown and "wheelbarrow" in shown and "3 of 3 other players" in shown
    assert "WordNet also lists" in shown


@pytest.mark.finding("http-held")
def test_my_plays_matches_account_export_without_others(site: Client, ann: User, ben: User) -> None:
    round_ = play_round(ann, ["shrimp"])
    play_round(ben, ["squid"])
    log_in_with_consent(site, ann)
    answer = site.get("/nyms/api/my-plays.json")
    found = json.loads(answer.content)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert [r["id"] for r in found["rounds"]] == [str(round_.pk)]
    assert found["rounds"][0]["answers"][0]["answer"] == "shrimp"
    assert "squid" not in answer.content.decode()
    assert json.loads(site.get("/account/export/").content)["game"]["rounds"] == found["rounds"]


def test_account_deletion_removes_plays(site: Client, ann: User, ben: User) -> None:
    play_round(ann, ["shrimp"])
    play_round(ben, ["shrimp"])
    log_in_with_consent(site, ann)
    fields = {"password": "correct horse battery"}
    post_form(site, "/account/delete/", fields, at="/account/delete/")
    # Only the other player's data is left, also in the sums of words.
    assert set(Round.objects.values_list("player", flat=True)) == {ben.pk}
    assert not Consent.objects.exists()
    assert Word.objects.get().rounds == 1


@pytest.mark.finding("http-held")
def test_pages_have_no_inline_scripts_or_styles(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    done = play_round(ann, ["shrimp"])
    round_ = open_round(ann)
    sitting = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    paths = ["", "notice/", "leaders/", "history/", "challenges/", "nym-or-not/"]
    paths += [f"rounds/{done.pk}/", f"rounds/{round_.pk}/"]
    for path in [f"/nyms/{path}" for path in paths] + [sitting]:
        shown = get_page(site, path)
        # The content security policy forbids inline scripts and styles.
        assert "style=" not in shown and " on" + "click" not in shown
        assert shown.count("<script") == shown.count('<script type="module" src=') + shown.count(
            "<script src="
        )
        assert "http://" not in shown and "https://" not in shown


def test_round_page_shows_server_clock(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, relation=Relation.HYPONYMS)
    set_back_clock(round_, 5)
    left = get_page(site, f"/nyms/rounds/{round_.pk}/").split('data-left="')[1].split('"')[0]
    assert 8 < float(left) <= 10
    assert get_csrf_token(site, f"/nyms/rounds/{round_.pk}/")
