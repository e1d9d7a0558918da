"""Tests of attempts to cheat with a browser's developer tools or a script.

`test_game_pages` and `test_rounds` cover the direct attempts: forged words, late answers, replays,
10,000 answers, scripts, SQL and other players' rounds.
"""

from __future__ import annotations

import re
import threading
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from idiolect.errors import UsageError
from idiolect.game.rules.answers import MAX_CHARS
from idiolect.game.rules.relations import ROUND_SECONDS, Relation
from idiolect.web import rate_limits
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
    PAIR,
    create_guests,
    create_pair_session,
    log_in_with_consent,
    open_round,
    play_round,
    post_form,
    set_back_clock,
)

pytestmark = pytest.mark.django_db
HYPONYMS = ROUND_SECONDS[Relation.HYPONYMS]


def get_path(round_: Round | PairSession) -> str:
    """Returns the URL path of a round."""
    return f"/nyms/rounds/{round_.pk}/"


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
def test_submit_answers_rejects_disguised_base_word(ann: User, disguise: str) -> None:
    for player in create_guests(2):
        play_round(player, ["seafood", disguise, "shrimp"])
    result = play_round(ann, [disguise])
    assert result.score == 0 and not result.answers.exists()


def test_submit_answers_gives_no_bonus_for_lookalike_letters(ann: User) -> None:
    # The third letter is a Cyrillic "a", so the word counts as an answer but earns no bonus.
    assert play_round(ann, ["se\u0430food"]).answers.get().bonus == 0


def test_submit_answers_counts_forms_of_one_answer_once(ann: User) -> None:
    for player in create_guests(4):
        play_round(player, ["shrimp"])
    # Case, plural, article, zero-width space, punctuation and possessive do not change the stem.
    forms = ["shrimp", "Shrimps", "the shrimp", "shr\u200bimp", "shrimp!", "shrimp's", "a shrimp"]
    result = play_round(ann, forms)
    assert [answer.agreement for answer in result.answers.all()] == [100]


def test_submit_answers_cuts_answers_that_normalization_lengthens(ann: User) -> None:
    # Normalization expands some of these characters, and stemming lengthens "ova" to "ovum".
    long = ["\ufdfa" * 50, "ova " * 12, "ß" * 50, "İ" * 50, "e\u0301" * 60]
    for answer in play_round(ann, long).answers.all():
        assert len(answer.text) <= MAX_CHARS and len(answer.stem) <= MAX_CHARS


def test_count_prior_answers_counts_repeating_player_once(ann: User, ben: User) -> None:
    for _ in range(5):
        play_round(ann, ["wheelbarrow"])
    assert play_round(ben, ["wheelbarrow"]).answers.get().agreement == 100
    play_round(create_guests(1)[0], ["shrimp"])
    # Only two other players count, however many rounds they played.
    counted, _ = answer_counts.count_prior_answers(
        Word.objects.get(), excluding=ben, stems={"wheelbarrow"}
    )
    assert (counted.rounds, dict(counted.given)) == (2, {"wheelbarrow": 1})


def test_sign_up_gives_no_agreement_with_own_guest_answers(site: Client) -> None:
    guest = User.objects.create_guest()
    log_in_with_consent(site, guest)
    play_round(guest, ["wheelbarrow"])
    # The account takes over the guest's rounds, so they count as the player's own.
    fields = {"username": "cleo", "password": "correct horse battery"}
    post_form(site, "/sign-up/", fields, at="/sign-up/")
    cleo = User.objects.get(username="cleo")
    round_ = open_round(cleo)
    post_form(site, get_path(round_), {"answer": ["wheelbarrow"]})
    assert Answer.objects.get(round=round_).agreement == 0


def test_play_page_keeps_open_round(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, "fruit")
    for relation in Relation:
        post_form(site, "/nyms/play/", {"relation": [relation.value], "untimed": "on"})
    assert Round.objects.get() == round_
    round_.refresh_from_db()
    assert round_.word.base == "fruit" and not round_.untimed


def test_start_round_does_not_repeat_lapsed_word(ann: User) -> None:
    round_ = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(1))
    set_back_clock(round_, 60)
    # Each new round has another word, whatever the random seed.
    for seed in range(20):
        again = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(seed))
        assert again.word != round_.word
        rounds.skip_round(ann, again.pk)


@pytest.mark.parametrize("state", [State.LAPSED, State.SKIPPED])
def test_round_page_refuses_answers_after_end(site: Client, ann: User, state: State) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, ago=60 if state == State.LAPSED else 0)
    if state == State.SKIPPED:
        rounds.skip_round(ann, round_.pk)
    for _ in range(2):
        assert post_form(site, get_path(round_), {"answer": ["shrimp"]}).status_code == 409
    round_.refresh_from_db()
    assert (round_.state, round_.score) == (state, 0)
    assert not Answer.objects.exists() and not PlayerScore.objects.filter(points__gt=0).exists()


def test_round_page_ignores_untimed_field(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann, ago=HYPONYMS + 1.5)
    fields = {"answer": ["shrimp"], "untimed": "on"}
    assert post_form(site, f"{get_path(round_)}?untimed=on", fields).status_code == 409


@pytest.mark.parametrize("method", ["put", "patch", "delete", "get"])
def test_round_page_takes_answers_by_post_only(site: Client, ann: User, method: str) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    getattr(site, method)(f"{get_path(round_)}?answer=shrimp")
    round_.refresh_from_db()
    assert round_.state == State.OPEN and not Answer.objects.exists()


def test_round_page_refuses_json_answers(site: Client, ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    log_in_with_consent(strict, ann)
    round_ = open_round(ann)
    answer = strict.post(
        get_path(round_), '{"answer": ["shrimp"]}', content_type="application/json"
    )
    assert answer.status_code == 403
    round_.refresh_from_db()
    assert round_.state == State.OPEN


@pytest.mark.finding("http-held")
def test_round_page_refuses_forged_csrf_token(ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    log_in_with_consent(strict, ann)
    round_ = open_round(ann)
    forged = {"answer": "shrimp", "csrfmiddlewaretoken": "a" * 64}
    for headers in ({}, {"origin": "https://elsewhere.example"}):
        assert strict.post(get_path(round_), forged, headers=headers).status_code == 403
    round_.refresh_from_db()
    assert round_.state == State.OPEN


def test_game_pages_without_consent_store_nothing(site: Client, ann: User) -> None:
    site.force_login(ann)
    round_ = open_round(ann)
    for path in (get_path(round_), f"{get_path(round_)}skip/", "/nyms/play/", "/nyms/nym-or-not/"):
        assert post_form(site, path, {"answer": ["shrimp"]}).url.startswith("/nyms/notice/")
    round_.refresh_from_db()
    assert round_.state == State.OPEN
    assert not Answer.objects.exists() and not PairSession.objects.exists()


@pytest.mark.finding("http-held")
def test_challenge_page_hides_answers_of_other_players(site: Client, ann: User, ben: User) -> None:
    answer = play_round(ben, ["wheelbarrow"]).answers.get()
    log_in_with_consent(site, ann)
    path = f"/nyms/answers/{answer.pk}/challenge/"
    for found in (
        site.get(path),
        post_form(site, path, {"sentence": "People eat a wheelbarrow like any other fish."}),
    ):
        assert found.status_code == 404
    assert not Challenge.objects.exists()


def test_challenge_awards_bonus_once_after_verdict(ann: User, ben: User) -> None:
    played = play_round(ann, ["wheelbarrow"])
    answer = played.answers.get()
    challenge = challenges.submit_challenge(
        ann, answer.pk, "Grilled wheelbarrow is a seafood of the coast."
    )
    played.refresh_from_db()
    before = played.score
    with pytest.raises(UsageError, match="before"):
        challenges.submit_challenge(ann, answer.pk, "Once more.")
    assert challenges.decide_challenge(challenge, accept=True, moderator=ben)
    assert not challenges.decide_challenge(challenge, accept=True, moderator=ben)
    played.refresh_from_db()
    assert played.score == before + 50
    assert PlayerScore.objects.get(player=ann).points == played.score


@pytest.mark.finding("http-held")
def test_pair_session_page_ignores_forged_votes_and_foreign_games(
    site: Client, ann: User, ben: User
) -> None:
    theirs, mine = create_pair_session(ben, PAIR), create_pair_session(ann, PAIR)
    log_in_with_consent(site, ann)
    forged = {"vote-0": "y", "vote-1": "y", "vote--1": "y", "answer": "x", "base": "x", "likely": 1}
    path = "/nyms/nym-or-not/{}/"
    assert post_form(site, path.format(theirs.pk), forged).status_code == 404
    post_form(site, path.format(mine.pk), forged)
    vote = PairVote.objects.get()
    assert (vote.base, vote.answer, vote.likely) == ("seafood", "wheelbarrow", 0.5)


def test_start_pair_session_keeps_open_session(ann: User) -> None:
    first = pair_sessions.start_pair_session(ann, untimed=False, draw=Random(1))
    again = pair_sessions.start_pair_session(ann, untimed=True, draw=Random(2))
    assert again.pk == first.pk and again.pairs == first.pairs and not again.untimed


def test_pages_hide_correct_answers(site: Client, ann: User) -> None:
    log_in_with_consent(site, ann)
    where = post_form(site, "/nyms/nym-or-not/", {}, at="/nyms/nym-or-not/").url
    shown = site.get(where).content.decode()
    # The words of the drawn pairs are shown in <strong>; "likely" may be one of them.
    markup = re.sub(r"<strong>[^<]*</strong>", "", shown)
    assert "likely" not in markup and "0.95" not in shown and "0.05" not in shown
    round_ = open_round(ann, "fruit")
    shown = site.get(get_path(round_)).content.decode()
    assert "apple" not in shown and "banana" not in shown


def test_round_page_hides_answers_of_two_players(site: Client, ann: User) -> None:
    for player in create_guests(2):
        play_round(player, ["call 555 0199", "wheelbarrow"])
    log_in_with_consent(site, ann)
    shown = site.get(get_path(play_round(ann, ["shrimp"]))).content.decode()
    assert "555 0199" not in shown and "wheelbarrow" not in shown


@pytest.mark.django_db(transaction=True)
def test_concurrent_answers_and_skips_end_round_once(ann: User) -> None:
    round_ = open_round(ann)
    # Four threads act as four tabs; the barrier makes them start at the same time.
    barrier = threading.Barrier(4)

    def run_tab(step: Any) -> None:
        barrier.wait()
        try:
            step()
        except UsageError:
            pass  # Another tab skipped the round first.
        finally:
            connection.close()

    steps = [
        lambda: rounds.submit_answers(ann, round_.pk, ["shrimp"]),
        lambda: rounds.skip_round(ann, round_.pk),
        lambda: rounds.submit_answers(ann, round_.pk, ["lobster", "crab"]),
        lambda: rounds.skip_round(ann, round_.pk),
    ]
    tabs = [threading.Thread(target=run_tab, args=(step,)) for step in steps]
    for one in tabs:
        one.start()
    for one in tabs:
        one.join()
    # Either the skip or one set of answers won; all sums agree with that.
    round_.refresh_from_db()
    word = Word.objects.get()
    if round_.state == State.SKIPPED:
        assert (word.rounds, word.skips, Answer.objects.count()) == (0, 1, 0)
    else:
        assert (round_.state, word.rounds, word.skips) == (State.FINISHED, 1, 0)
        assert Answer.objects.count() == round_.answered
        assert PlayerScore.objects.get().points == round_.score


def test_round_page_over_rate_limit_returns_429(
    site: Client, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in_with_consent(site, ann)
    round_ = open_round(ann)
    # The clock stands still while the player uses up the limit.
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(time=lambda: 2e9))
    for _ in range(SUBMIT.burst):
        assert check_limit(SUBMIT, f"player {ann.pk}") == 0.0
    refused = post_form(site, get_path(round_), {"answer": ["shrimp"]})
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) == SUBMIT.seconds
    round_.refresh_from_db()
    assert round_.state == State.OPEN and not Answer.objects.exists()
