"""Cheats against the game, as somebody with a browser's tools and a script would try them.

`test_pages` and `test_rounds` have the plain ones (forged word, late answer, replay, 10,000
answers, scripts, SQL, somebody else's round); these go round the back.
"""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from idiolect.errors import UsageError
from idiolect.game.rules.answers import MAX_CHARS
from idiolect.game.rules.relations import ROUND_SECONDS, Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import answer_counts, challenges, pair_sessions, rounds
from idiolect.web.game.models import (
    Answer,
    Challenge,
    PairSession,
    PairVote,
    PlayerScore,
    Round,
    State,
    Word,
)
from idiolect.web.rate_limits import SUBMIT, check_limit
from support.game_site import (
    create_guests,
    log_in_with_consent,
    open_round,
    play_round,
    post_form,
    set_back_clock,
)
from tests.web.game.test_pair_sessions import PAIR, sitting_of

pytestmark = pytest.mark.django_db
HYPONYMS = ROUND_SECONDS[Relation.HYPONYMS]


def at(made: Round | PairSession) -> str:
    """The address of a round."""
    return f"/nyms/rounds/{made.pk}/"


@pytest.mark.parametrize(
    "disguise",
    [
        "seafood",
        "SEAFOODS",
        "sea-food",
        "sea food",
        "the seafood",
        "sea\u200bfood",
        "sea\u00adfood",
        "\uff53\uff45\uff41\uff46\uff4f\uff4f\uff44",
        "seafood seafood",
        "...seafood...",
        "seafood's",
        "\x00seafood",
    ],
)
def test_the_base_word_in_disguise(ann: User, disguise: str) -> None:
    for player in create_guests(2):
        play_round(player, ["seafood", disguise, "shrimp"])
    result = play_round(ann, [disguise])
    assert result.score == 0 and not result.answers.exists()


def test_letters_that_only_look_like_the_base_word(ann: User) -> None:
    assert play_round(ann, ["se\u0430food"]).answers.get().bonus == 0


def test_one_answer_in_many_forms_counts_once(ann: User) -> None:
    for player in create_guests(4):
        play_round(player, ["shrimp"])
    forms = ["shrimp", "Shrimps", "the shrimp", "shr\u200bimp", "shrimp!", "shrimp's", "a shrimp"]
    result = play_round(ann, forms)
    assert [answer.agreement for answer in result.answers.all()] == [100]


def test_an_answer_that_grows_when_it_is_normalised(ann: User) -> None:
    long = ["\ufdfa" * 50, "ova " * 12, "ß" * 50, "İ" * 50, "e\u0301" * 60]
    for answer in play_round(ann, long).answers.all():
        assert len(answer.text) <= MAX_CHARS and len(answer.stem) <= MAX_CHARS


def test_a_player_who_plays_again_does_not_raise_their_own_share(ann: User, ben: User) -> None:
    for _ in range(5):
        play_round(ann, ["wheelbarrow"])
    assert play_round(ben, ["wheelbarrow"]).answers.get().agreement == 100
    play_round(create_guests(1)[0], ["shrimp"])
    counted, _ = answer_counts.count_prior_answers(
        Word.objects.get(), excluding=ben, stems={"wheelbarrow"}
    )
    assert (counted.rounds, dict(counted.given)) == (2, {"wheelbarrow": 1})


def test_a_guest_who_signs_up_does_not_agree_with_who_they_were(site: Client) -> None:
    guest = User.objects.create_guest()
    log_in_with_consent(site, guest)
    play_round(guest, ["wheelbarrow"])
    fields = {"username": "cleo", "password": "correct horse battery"}
    post_form(site, "/sign-up/", fields, at="/sign-up/")
    cleo = User.objects.get(username="cleo")
    made = open_round(cleo)
    post_form(site, at(made), {"answer": ["wheelbarrow"]})
    assert Answer.objects.get(round=made).agreement == 0


def test_starting_over_and_over_does_not_draw_another_word(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, "fruit")
    for relation in Relation:
        post_form(site, "/nyms/play/", {"relation": [relation.value], "untimed": "on"})
    assert Round.objects.get() == made
    made.refresh_from_db()
    assert made.word.base == "fruit" and not made.untimed


def test_a_lapsed_word_does_not_come_back_with_time_to_prepare(ann: User) -> None:
    made = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(1))
    set_back_clock(made, 60)
    for seed in range(20):
        again = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(seed))
        assert again.word != made.word
        rounds.skip_round(ann, again.pk)


@pytest.mark.parametrize("state", [State.LAPSED, State.SKIPPED])
def test_a_round_that_is_over_takes_no_answers(site: Client, ann: User, state: State) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, ago=60 if state == State.LAPSED else 0)
    if state == State.SKIPPED:
        rounds.skip_round(ann, made.pk)
    for _ in range(2):
        assert post_form(site, at(made), {"answer": ["shrimp"]}).status_code == 409
    made.refresh_from_db()
    assert (made.state, made.score) == (state, 0)
    assert not Answer.objects.exists() and not PlayerScore.objects.filter(points__gt=0).exists()


def test_a_late_answer_does_not_become_untimed(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann, ago=HYPONYMS + 1.5)
    fields = {"answer": ["shrimp"], "untimed": "on"}
    assert post_form(site, f"{at(made)}?untimed=on", fields).status_code == 409


@pytest.mark.parametrize("method", ["put", "patch", "delete", "get"])
def test_answers_come_by_post_only(site: Client, ann: User, method: str) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    getattr(site, method)(f"{at(made)}?answer=shrimp")
    made.refresh_from_db()
    assert made.state == State.OPEN and not Answer.objects.exists()


def test_answers_as_a_file_or_json_are_no_answers(site: Client, ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    log_in_with_consent(strict, ann)
    made = open_round(ann)
    answer = strict.post(at(made), '{"answer": ["shrimp"]}', content_type="application/json")
    assert answer.status_code == 403
    made.refresh_from_db()
    assert made.state == State.OPEN


def test_from_another_site_nothing_goes(ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    log_in_with_consent(strict, ann)
    made = open_round(ann)
    forged = {"answer": "shrimp", "csrfmiddlewaretoken": "a" * 64}
    for headers in ({}, {"origin": "https://elsewhere.example"}):
        assert strict.post(at(made), forged, headers=headers).status_code == 403
    made.refresh_from_db()
    assert made.state == State.OPEN


def test_leaving_the_notice_out_stores_nothing(site: Client, ann: User) -> None:
    site.force_login(ann)
    made = open_round(ann)
    for path in (at(made), f"{at(made)}skip/", "/nyms/play/", "/nyms/nym-or-not/"):
        assert post_form(site, path, {"answer": ["shrimp"]}).url.startswith("/nyms/notice/")
    made.refresh_from_db()
    assert made.state == State.OPEN
    assert not Answer.objects.exists() and not PairSession.objects.exists()


def test_somebody_elses_answer_cannot_be_challenged(site: Client, ann: User, ben: User) -> None:
    answer = play_round(ben, ["wheelbarrow"]).answers.get()
    log_in_with_consent(site, ann)
    path = f"/nyms/answers/{answer.pk}/challenge/"
    for found in (
        site.get(path),
        post_form(site, path, {"sentence": "People eat a wheelbarrow like any other fish."}),
    ):
        assert found.status_code == 404
    assert not Challenge.objects.exists()


def test_a_challenge_pays_once_and_only_after_a_verdict(ann: User, ben: User) -> None:
    played = play_round(ann, ["wheelbarrow"])
    answer = played.answers.get()
    made = challenges.submit_challenge(
        ann, answer.pk, "Grilled wheelbarrow is a seafood of the coast."
    )
    played.refresh_from_db()
    before = played.score
    with pytest.raises(UsageError, match="before"):
        challenges.submit_challenge(ann, answer.pk, "Once more.")
    assert challenges.decide_challenge(made, accept=True, moderator=ben)
    assert not challenges.decide_challenge(made, accept=True, moderator=ben)
    played.refresh_from_db()
    assert played.score == before + 50
    assert PlayerScore.objects.get(player=ann).points == played.score


def test_votes_for_other_pairs_and_other_peoples_games(site: Client, ann: User, ben: User) -> None:
    theirs, mine = sitting_of(ben, PAIR), sitting_of(ann, PAIR)
    log_in_with_consent(site, ann)
    forged = {"vote-0": "y", "vote-1": "y", "vote--1": "y", "answer": "x", "base": "x", "likely": 1}
    path = "/nyms/nym-or-not/{}/"
    assert post_form(site, path.format(theirs.pk), forged).status_code == 404
    post_form(site, path.format(mine.pk), forged)
    vote = PairVote.objects.get()
    assert (vote.base, vote.answer, vote.likely) == ("seafood", "wheelbarrow", 0.5)


def test_a_game_open_in_nym_or_not_is_not_drawn_again(ann: User) -> None:
    first = pair_sessions.start_pair_session(ann, untimed=False, draw=Random(1))
    again = pair_sessions.start_pair_session(ann, untimed=True, draw=Random(2))
    assert again.pk == first.pk and again.pairs == first.pairs and not again.untimed


def test_the_page_does_not_tell_what_is_right(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    where = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    shown = site.get(where).content.decode()
    assert "likely" not in shown and "0.95" not in shown and "0.05" not in shown
    made = open_round(ann, "fruit")
    shown = site.get(at(made)).content.decode()
    assert "apple" not in shown and "banana" not in shown


def test_what_two_friends_say_is_shown_to_nobody(site: Client, ann: User) -> None:
    for player in create_guests(2):
        play_round(player, ["call 555 0199", "wheelbarrow"])
    log_in_with_consent(site, ann)
    shown = site.get(at(play_round(ann, ["shrimp"]))).content.decode()
    assert "555 0199" not in shown and "wheelbarrow" not in shown


@pytest.mark.django_db(transaction=True)
def test_answers_and_a_skip_at_once_end_the_round_once(ann: User) -> None:
    made = open_round(ann)
    together = threading.Barrier(4)

    def tab(step: Any) -> None:
        together.wait()
        try:
            step()
        except UsageError:
            pass  # The skip was first.
        finally:
            connection.close()

    steps = [
        lambda: rounds.submit_answers(ann, made.pk, ["shrimp"]),
        lambda: rounds.skip_round(ann, made.pk),
        lambda: rounds.submit_answers(ann, made.pk, ["lobster", "crab"]),
        lambda: rounds.skip_round(ann, made.pk),
    ]
    tabs = [threading.Thread(target=tab, args=(step,)) for step in steps]
    for one in tabs:
        one.start()
    for one in tabs:
        one.join()
    made.refresh_from_db()
    word = Word.objects.get()
    if made.state == State.SKIPPED:
        assert (word.rounds, word.skips, Answer.objects.count()) == (0, 1, 0)
    else:
        assert (made.state, word.rounds, word.skips) == (State.FINISHED, 1, 0)
        assert Answer.objects.count() == made.answered
        assert PlayerScore.objects.get().points == made.score


def test_a_script_that_has_used_up_its_burst_waits(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    made = open_round(ann)
    check_limit(SUBMIT, f"player {ann.pk}", now=time.time() + 3600)
    refused = post_form(site, at(made), {"answer": ["shrimp"]})
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 3000
    made.refresh_from_db()
    assert made.state == State.OPEN and not Answer.objects.exists()
