"""Tests of rounds on the server: their score, their time limit, and that each ends once."""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F

from idiolect.errors import MissingError, UsageError
from idiolect.game import words
from idiolect.game.rules.relations import GRACE_SECONDS, MAX_ANSWERS, ROUND_SECONDS, Relation
from idiolect.game.rules.scoring import ROUND_BONUS
from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User
from idiolect.web.game import rounds
from idiolect.web.game.models import Answer, PlayerScore, Round, State, Word
from support.game_site import SEAFOOD, create_guests, open_round, play_round, set_back_clock

pytestmark = pytest.mark.django_db
ALL = tuple(Relation)
HYPONYMS = ROUND_SECONDS[Relation.HYPONYMS]


def get_totals(player: User, *, untimed: bool = False) -> tuple[int, int]:
    """Returns the player's numbers of rounds and points, as the leaderboards use them."""
    found = PlayerScore.objects.filter(player=player, untimed=untimed).first()
    return (found.rounds, found.points) if found else (0, 0)


def test_start_round_chooses_word_on_server(ann: User) -> None:
    round_ = rounds.start_round(ann, [Relation.MERONYMS], untimed=False, draw=Random(1))
    assert round_.word.relation == "meronyms"
    assert round_.word.base in words.load_table().base_words(Relation.MERONYMS)
    assert round_.state == State.OPEN and 0 < round_.difficulty < 1
    assert ROUND_SECONDS[Relation.MERONYMS] - 2 < (rounds.compute_seconds_left(round_) or 0)


def test_start_round_twice_returns_open_round(ann: User) -> None:
    round_ = rounds.start_round(ann, ALL, untimed=False, draw=Random(1))
    set_back_clock(round_, 4)
    # Another seed and the untimed setting do not change the open round.
    again = rounds.start_round(ann, ALL, untimed=True, draw=Random(2))
    assert again.pk == round_.pk and not again.untimed
    assert (rounds.compute_seconds_left(again) or 0) < ROUND_SECONDS[
        Relation(round_.word.relation)
    ] - 3.9


def test_start_round_never_repeats_word(ann: User) -> None:
    seen: set[str] = set()
    for turn in range(12):
        round_ = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(turn))
        assert round_.word.base not in seen
        seen.add(round_.word.base)
        rounds.skip_round(ann, round_.pk) if turn % 2 else rounds.submit_answers(
            ann, round_.pk, ["x"]
        )


def test_submit_answers_scores_agreement_between_players(ann: User, ben: User) -> None:
    first = play_round(ann, ["shrimp", "lobster"])
    second = play_round(ben, ["Shrimps", "eel"])
    assert [a.agreement for a in first.answers.all()] == [0, 0]
    assert [(a.text, a.agreement) for a in second.answers.all()] == [("shrimps", 100), ("eel", 0)]
    assert "1 of 1 other player gave it too" in second.answers.all()[0].why


def test_submit_answers_matches_shares_of_original_game(ann: User) -> None:
    players = create_guests(60)
    for at, player in enumerate(players):
        given = [answer for answer, many in SEAFOOD.items() if at < many]
        play_round(player, given or ["squid"])
    result = play_round(ann, list(SEAFOOD))
    # The agreement is the share in percent, rounded half up.
    got = {answer.text: answer.agreement for answer in result.answers.all()}
    assert got == {answer: (200 * many + 60) // 120 for answer, many in SEAFOOD.items()}
    assert result.bonus == 0


def test_submit_answers_awards_bonus_for_listed_answers_and_new_words(ann: User) -> None:
    result = play_round(ann, ["apple", "wheelbarrow"], "fruit")
    assert [a.bonus for a in result.answers.all()] == [50, 0]
    assert (result.bonus, result.score) == (ROUND_BONUS, 50 + ROUND_BONUS)


def test_submit_answers_ignores_own_earlier_answers(ann: User) -> None:
    play_round(ann, ["wheelbarrow"])
    assert play_round(ann, ["wheelbarrow"]).answers.get().agreement == 0


def test_submit_answers_twice_keeps_first_result(ann: User) -> None:
    round_ = open_round(ann)
    first = rounds.submit_answers(ann, round_.pk, ["shrimp"])
    again = rounds.submit_answers(ann, round_.pk, ["lobster", "crab", "salmon"])
    assert (again.score, again.answered) == (first.score, 1)
    assert Answer.objects.get().text == "shrimp"
    assert get_totals(ann) == (1, first.score)
    assert Word.objects.get().rounds == 1


def test_submit_answers_rejects_late_answers(ann: User) -> None:
    round_ = open_round(ann, ago=HYPONYMS + GRACE_SECONDS + 0.5)
    with pytest.raises(UsageError, match="after the round had ended"):
        rounds.submit_answers(ann, round_.pk, ["shrimp"])
    round_.refresh_from_db()
    assert round_.state == State.LAPSED and not Answer.objects.exists()
    assert get_totals(ann) == (0, 0)
    assert rounds.start_round(ann, ALL, untimed=False, draw=Random(0)).pk != round_.pk


def test_submit_answers_accepts_answers_in_grace_time(ann: User) -> None:
    round_ = open_round(ann, ago=HYPONYMS + GRACE_SECONDS - 0.5)
    assert rounds.compute_seconds_left(round_) == 0
    assert rounds.submit_answers(ann, round_.pk, ["shrimp"]).state == State.FINISHED


def test_submit_answers_untimed_has_own_totals(ann: User) -> None:
    round_ = open_round(ann, untimed=True, ago=86_400)
    assert rounds.compute_seconds_left(round_) is None
    result = rounds.submit_answers(ann, round_.pk, ["shrimp"])
    assert (get_totals(ann), get_totals(ann, untimed=True)) == ((0, 0), (1, result.score))


@pytest.mark.finding("http-held")
def test_rounds_reject_other_players(ann: User, ben: User) -> None:
    round_ = open_round(ann)
    for attempt in (
        lambda: rounds.submit_answers(ben, round_.pk, ["shrimp"]),
        lambda: rounds.skip_round(ben, round_.pk),
        lambda: rounds.get_round(ben, round_.pk),
        lambda: rounds.submit_answers(ben, uuid4(), ["shrimp"]),
    ):
        with pytest.raises(MissingError):
            attempt()
    round_.refresh_from_db()
    assert round_.state == State.OPEN


def test_submit_answers_gives_no_points_for_base_word(ann: User) -> None:
    result = play_round(ann, ["seafood", "SEAFOOD ", "sea-food", "the seafood", "seafoods"])
    assert [a.text for a in result.answers.all()] in ([], ["sea-food"])
    assert all(a.total == 0 for a in result.answers.all())


def test_submit_answers_limits_number_of_answers(ann: User) -> None:
    result = play_round(ann, [f"answer{n}" for n in range(10_000)])
    assert result.answered == Answer.objects.count() == MAX_ANSWERS


def test_submit_answers_without_answer_changes_no_sums(ann: User, ben: User) -> None:
    assert play_round(ann, ["", "  ", "seafood"]).score == 0
    assert get_totals(ann) == (0, 0)
    assert Word.objects.get().rounds == 0
    assert "No other player has played" in play_round(ben, ["shrimp"]).answers.get().why


def test_skip_round_counts_each_player_once(ann: User, ben: User) -> None:
    for player in (ann, ann, ben):
        round_ = open_round(player)
        assert rounds.skip_round(player, round_.pk).state == State.SKIPPED
        with pytest.raises(UsageError, match="skipped"):
            rounds.submit_answers(player, round_.pk, ["shrimp"])
    assert Word.objects.get().skips == 2


def test_skip_round_keeps_finished_round(ann: User) -> None:
    result = play_round(ann, ["shrimp"])
    assert rounds.skip_round(ann, result.pk).state == State.FINISHED
    assert Word.objects.get().skips == 0


def test_word_sums_include_first_round_of_each_player(ann: User, ben: User) -> None:
    first = play_round(ann, ["apple"], "fruit")
    play_round(ann, ["pear", "plum"], "fruit")
    second = play_round(ben, ["apple"], "fruit", untimed=True)
    word = Word.objects.get()
    points = sum(round_.score - round_.bonus for round_ in (first, second))
    assert (word.rounds, word.points) == (2, points) and points > 0


def test_player_deletion_updates_word_sums(ann: User, ben: User) -> None:
    for player, answers in ((ann, ["shrimp", "crab"]), (ann, ["eel"]), (ben, ["shrimp"])):
        play_round(player, answers)
        rounds.skip_round(player, open_round(player).pk)
    # After the deletion, the word's sums are those of the other player's first round.
    of_ben = Round.objects.get(player=ben, state=State.FINISHED)
    ann.delete()
    word = Word.objects.get()
    assert (word.rounds, word.skips, word.points) == (1, 1, of_ben.score - of_ben.bonus)
    assert set(Answer.objects.values_list("player", flat=True)) == {ben.pk}


@pytest.mark.finding("word-sum")
def test_player_deletion_with_wrong_word_sums_computes_them_again(ann: User, ben: User) -> None:
    for player in (ann, ben):
        play_round(player, ["shrimp"])
        rounds.skip_round(player, open_round(player, "bird").pk)
    play_round(ben, ["crab"])
    first = Round.objects.filter(player=ben, state=State.FINISHED).order_by("ended_at")[0]
    # The sums are smaller than ann's part of them.
    Word.objects.update(rounds=0, points=3, skips=0)
    personal_data.erase_person(ann)
    sums = set(Word.objects.values_list("base", "rounds", "points", "skips"))
    assert sums == {("seafood", 1, first.score - first.bonus, 0), ("bird", 0, 0, 1)}
    personal_data.erase_person(ben)
    assert set(Word.objects.values_list("rounds", "points", "skips")) == {(0, 0, 0)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["submit", "start"])
def test_concurrent_tabs_create_one_round(ann: User, step: str) -> None:
    round_ = open_round(ann) if step == "submit" else None
    # Four threads act as four tabs; the barrier makes them start at the same time.
    barrier = threading.Barrier(4)
    found: list[object] = []

    def run_tab(number: int) -> None:
        barrier.wait()
        try:
            if round_ is not None:
                found.append(rounds.submit_answers(ann, round_.pk, [f"shrimp{number}"]).score)
            else:
                found.append(rounds.start_round(ann, ALL, untimed=False, draw=Random(number)).pk)
        finally:
            connection.close()

    tabs = [threading.Thread(target=run_tab, args=(number,)) for number in range(4)]
    for one in tabs:
        one.start()
    for one in tabs:
        one.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert Round.objects.count() == 1
    if round_ is not None:
        assert get_totals(ann)[0] == 1 and Answer.objects.count() == 1


def test_compute_seconds_left_uses_database_clock(ann: User) -> None:
    # A start in the database's future leaves more than the full time: the start is compared with
    # the database's clock only.
    round_ = open_round(ann)
    Round.objects.filter(pk=round_.pk).update(started_at=F("started_at") + timedelta(seconds=2))
    assert (rounds.compute_seconds_left(round_) or 0) > HYPONYMS
    set_back_clock(round_, 3600)
    assert rounds.compute_seconds_left(round_) == 0


@pytest.mark.finding("clock-set-back")
def test_submit_answers_ends_round_that_began_in_the_future(ann: User) -> None:
    round_ = open_round(ann)
    set_back_clock(round_, -3600)
    with pytest.raises(UsageError, match="after the round had ended"):
        rounds.submit_answers(ann, round_.pk, ["shrimp"])
    assert rounds.start_round(ann, ALL, untimed=False, draw=Random(1)).pk != round_.pk
