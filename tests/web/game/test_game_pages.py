"""The game's pages as browsers and cheats send requests to them, without scripts."""

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


def page(client: Client, path: str) -> str:
    """The page's text; it must be there."""
    found = client.get(path)
    assert found.status_code == 200, (path, found.status_code)
    return found.content.decode()


def test_a_visitor_agrees_first_and_is_a_guest_from_then_on(site: Client) -> None:
    assert "Play" in page(site, "/nyms/")
    asked = post_form(site, "/nyms/play/", {"relation": ["meronyms"]})
    assert asked.url == "/nyms/notice/"
    assert not User.objects.exists() and not Round.objects.exists()
    began_at = post_form(site, "/nyms/notice/", {}, at="/nyms/notice/").url
    made = Round.objects.get()
    assert began_at == f"/nyms/rounds/{made.pk}/"
    assert made.word.relation == "meronyms" and made.player.is_guest
    assert Consent.objects.get().player == made.player
    assert made.word.base in page(site, began_at)


def test_a_guest_plays_and_keeps_the_round_with_a_name(site: Client) -> None:
    at = post_form(site, "/nyms/notice/", {}, at="/nyms/notice/").url
    assert post_form(site, at, {"answer": ["one", "two"]}, at=at).url == at
    assert "Your answers" in page(site, at)
    post_form(
        site, "/sign-up/", {"username": "cleo", "password": "correct horse battery"}, at="/sign-up/"
    )
    cleo = User.objects.get(username="cleo")
    assert Round.objects.get().player == cleo
    assert "two" in page(site, "/nyms/history/")


@pytest.mark.parametrize("path", ["/nyms/history/", "/nyms/challenges/", "/nyms/rounds/{id}/"])
def test_pages_of_players_send_strangers_to_the_notice(site: Client, ann: User, path: str) -> None:
    made = open_round(ann)
    assert site.get(path.format(id=made.pk)).headers["Location"] == "/nyms/notice/"


def test_the_client_cannot_name_the_word(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, "seafood")
    forged = {
        "answer": ["lion"],
        "word": "cat",
        "base": "cat",
        "relation": "hyponyms",
        "score": "9999",
        "untimed": "on",
        "started_at": "2000-01-01",
    }
    post_form(site, f"/nyms/rounds/{made.pk}/", forged)
    made.refresh_from_db()
    assert made.word.base == "seafood" and not made.untimed
    assert Answer.objects.get().bonus == 0
    assert not Word.objects.filter(base="cat").exists()


def test_a_late_answer_is_told_so(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, ago=60)
    late = post_form(site, f"/nyms/rounds/{made.pk}/", {"answer": ["shrimp"]})
    assert late.status_code == 409 and b"after the round had ended" in late.content
    assert "Time was up" in page(site, f"/nyms/rounds/{made.pk}/")
    assert not Answer.objects.exists()


def test_a_replay_shows_the_same_result(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    for answers in (["shrimp"], ["shrimp", "lobster", "crab"]):
        post_form(site, f"/nyms/rounds/{made.pk}/", {"answer": answers})
    assert Answer.objects.count() == 1
    assert PlayerScore.objects.get().rounds == 1


def test_somebody_elses_round_is_not_there(site: Client, ann: User, ben: User) -> None:
    made = open_round(ben)
    log_in_with_consent(site, ann)
    at = f"/nyms/rounds/{made.pk}/"
    assert site.get(at).status_code == 404
    assert post_form(site, at, {"answer": ["shrimp"]}).status_code == 404
    assert post_form(site, f"{at}skip/", {}).status_code == 404
    made.refresh_from_db()
    assert made.state == State.OPEN


def test_a_form_without_its_token_does_nothing(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    assert site.post(f"/nyms/rounds/{made.pk}/", {"answer": "shrimp"}).status_code == 403
    assert site.post("/nyms/play/").status_code == 403
    made.refresh_from_db()
    assert made.state == State.OPEN


SCRIPT = "<script>alert(1)</script>"
SQL = "x'); DROP TABLE game_answer;--"


def test_scripts_and_sql_in_answers_are_text(site: Client, ann: User) -> None:
    for player in create_guests(3):
        play_round(player, [SCRIPT, SQL])
    log_in_with_consent(site, ann)
    made = open_round(ann)
    post_form(
        site, f"/nyms/rounds/{made.pk}/", {"answer": [SCRIPT, SQL, "<img src=x onerror=a()>"]}
    )
    for path in (f"/nyms/rounds/{made.pk}/", "/nyms/history/"):
        shown = page(site, path)
        assert "<script>a" not in shown and "<img" not in shown and "script" in shown
    assert Answer.objects.count() == 9
    assert [a.agreement for a in Answer.objects.filter(player=ann)] == [100, 100, 0]


def test_ten_thousand_answers_are_refused_or_cut(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    many = {"answer": [f"answer{n}" for n in range(10_000)]}
    assert post_form(site, f"/nyms/rounds/{made.pk}/", many).status_code == 400
    made.refresh_from_db()
    assert made.state == State.OPEN
    post_form(site, f"/nyms/rounds/{made.pk}/", {"answer": [f"answer{n}" for n in range(400)]})
    assert Answer.objects.count() == 60


def test_a_megabyte_in_one_answer_is_refused(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    assert post_form(site, f"/nyms/rounds/{made.pk}/", {"answer": "a" * 2**20}).status_code == 400
    post_form(site, f"/nyms/rounds/{made.pk}/", {"answer": "a\0b" + "é" * 50_000})
    assert len(Answer.objects.get().text) == 50


def test_pages_do_not_change_what_they_show(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    for path in ("", "play/", "history/", "leaders/", "nym-or-not/", f"rounds/{made.pk}/"):
        site.get(f"/nyms/{path}")
    assert site.get(f"/nyms/rounds/{made.pk}/skip/").status_code == 405
    assert Round.objects.count() == 1 and not PairSession.objects.exists()
    made.refresh_from_db()
    assert made.state == State.OPEN


def test_choices_are_remembered(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    post_form(site, "/nyms/play/", {"relation": ["antonyms"], "untimed": "on"})
    made = Round.objects.get()
    assert made.untimed and made.word.relation == "antonyms"
    post_form(site, f"/nyms/rounds/{made.pk}/skip/", {})
    post_form(site, "/nyms/play/", {})
    assert {r.word.relation for r in Round.objects.all()} == {"antonyms"}
    post_form(site, "/nyms/play/", {"relation": ["astrology"]})
    assert rounds.find_open_round(ann) is not None


def test_a_skip_goes_on_to_the_next_word(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    onward = post_form(site, f"/nyms/rounds/{made.pk}/skip/", {}).url
    assert onward != f"/nyms/rounds/{made.pk}/" and onward.startswith("/nyms/rounds/")
    assert "skipped" in page(site, f"/nyms/rounds/{made.pk}/")


def test_who_wanted_nym_or_not_gets_it_after_the_notice(site: Client) -> None:
    begin = "/nyms/nym-or-not/"
    notice = post_form(site, begin, {"untimed": "on"}, at=begin).url
    assert notice == "/nyms/notice/?for=pairs" and not User.objects.exists()
    at = post_form(site, "/nyms/notice/", {"for": "pairs"}, at=notice).url
    made = PairSession.objects.get()
    assert at == f"{begin}{made.pk}/" and made.untimed
    assert not Round.objects.exists()


def test_nym_or_not_without_scripts(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    at = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    assert page(site, at).count('type="radio"') == 50
    post_form(site, at, {"vote-0": "y", "vote-3": "n", "vote-4": "maybe", "vote-99": "y"}, at=at)
    made = PairSession.objects.get()
    assert [vote.position for vote in made.votes.all()] == [0, 3]
    assert "You judged 2 pairs" in page(site, at)


def test_results_show_what_others_say_and_what_wordnet_lists(site: Client, ann: User) -> None:
    for player in create_guests(3):
        play_round(player, ["apple", "wheelbarrow"], "fruit")
    log_in_with_consent(site, ann)
    made = play_round(ann, ["apple", "cart"], "fruit")
    shown = page(site, f"/nyms/rounds/{made.pk}/")
    assert "75 %" in shown and "wheelbarrow" in shown and "3 of 3 other players" in shown
    assert "WordNet also lists" in shown


def test_export_has_everything_and_nothing_of_others(site: Client, ann: User, ben: User) -> None:
    made = play_round(ann, ["shrimp"])
    play_round(ben, ["squid"])
    log_in_with_consent(site, ann)
    answer = site.get("/nyms/api/my-plays.json")
    found = json.loads(answer.content)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert [r["id"] for r in found["rounds"]] == [str(made.pk)]
    assert found["rounds"][0]["answers"][0]["answer"] == "shrimp"
    assert "squid" not in answer.content.decode()
    assert json.loads(site.get("/account/export/").content)["game"]["rounds"] == found["rounds"]


def test_deleted_is_deleted(site: Client, ann: User, ben: User) -> None:
    play_round(ann, ["shrimp"])
    play_round(ben, ["shrimp"])
    log_in_with_consent(site, ann)
    fields = {"password": "correct horse battery"}
    post_form(site, "/account/delete/", fields, at="/account/delete/")
    assert set(Round.objects.values_list("player", flat=True)) == {ben.pk}
    assert not Consent.objects.exists()
    assert Word.objects.get().rounds == 1


def test_no_page_has_inline_scripts_or_styles(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    done = play_round(ann, ["shrimp"])
    made = open_round(ann)
    sitting = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    paths = ["", "notice/", "leaders/", "history/", "challenges/", "nym-or-not/"]
    paths += [f"rounds/{done.pk}/", f"rounds/{made.pk}/"]
    for path in [f"/nyms/{path}" for path in paths] + [sitting]:
        shown = page(site, path)
        assert "style=" not in shown and " on" + "click" not in shown
        assert shown.count("<script") == shown.count('<script type="module" src=') + shown.count(
            "<script src="
        )
        assert "http://" not in shown and "https://" not in shown


def test_the_clock_on_the_page_is_the_servers(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, relation=Relation.HYPONYMS)
    set_back_clock(made, 5)
    left = page(site, f"/nyms/rounds/{made.pk}/").split('data-left="')[1].split('"')[0]
    assert 8 < float(left) <= 10
    assert get_csrf_token(site, f"/nyms/rounds/{made.pk}/")
