"""A round on the server: what it is worth, when it ends, and that it ends once."""

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
from idiolect.web.accounts.models import User
from idiolect.web.game import rounds
from idiolect.web.game.models import Answer, PlayerScore, Round, State, Word
from support.game_site import SEAFOOD, create_guests, open_round, play_round, set_back_clock

pytestmark = pytest.mark.django_db
ALL = tuple(Relation)
HYPONYMS = ROUND_SECONDS[Relation.HYPONYMS]


def total(player: User, *, untimed: bool = False) -> tuple[int, int]:
    """The player's rounds and points, as the boards see them."""
    found = PlayerScore.objects.filter(player=player, untimed=untimed).first()
    return (found.rounds, found.points) if found else (0, 0)


def test_the_server_chooses_the_word(ann: User) -> None:
    made = rounds.start_round(ann, [Relation.MERONYMS], untimed=False, draw=Random(1))
    assert made.word.relation == "meronyms"
    assert made.word.base in words.load_table().base_words(Relation.MERONYMS)
    assert made.state == State.OPEN and 0 < made.difficulty < 1
    assert ROUND_SECONDS[Relation.MERONYMS] - 2 < (rounds.compute_seconds_left(made) or 0)


def test_starting_again_gives_the_same_word_and_no_time(ann: User) -> None:
    made = rounds.start_round(ann, ALL, untimed=False, draw=Random(1))
    set_back_clock(made, 4)
    again = rounds.start_round(ann, ALL, untimed=True, draw=Random(2))
    assert again.pk == made.pk and not again.untimed
    assert (rounds.compute_seconds_left(again) or 0) < ROUND_SECONDS[
        Relation(made.word.relation)
    ] - 3.9


def test_a_word_comes_once(ann: User) -> None:
    seen: set[str] = set()
    for turn in range(12):
        made = rounds.start_round(ann, [Relation.ANTONYMS], untimed=False, draw=Random(turn))
        assert made.word.base not in seen
        seen.add(made.word.base)
        rounds.skip_round(ann, made.pk) if turn % 2 else rounds.submit_answers(ann, made.pk, ["x"])


def test_two_players_score_each_other(ann: User, ben: User) -> None:
    first = play_round(ann, ["shrimp", "lobster"])
    second = play_round(ben, ["Shrimps", "eel"])
    assert [a.agreement for a in first.answers.all()] == [0, 0]
    assert [(a.text, a.agreement) for a in second.answers.all()] == [("shrimps", 100), ("eel", 0)]
    assert "1 of 1 other player gave it too" in second.answers.all()[0].why


def test_shares_are_those_of_the_original_game(ann: User) -> None:
    players = create_guests(60)
    for at, player in enumerate(players):
        given = [answer for answer, many in SEAFOOD.items() if at < many]
        play_round(player, given or ["squid"])
    result = play_round(ann, list(SEAFOOD))
    got = {answer.text: answer.agreement for answer in result.answers.all()}
    assert got == {answer: (200 * many + 60) // 120 for answer, many in SEAFOOD.items()}
    assert result.bonus == 0


def test_wordnets_answers_earn_a_bonus_and_new_words_too(ann: User) -> None:
    result = play_round(ann, ["apple", "wheelbarrow"], "fruit")
    assert [a.bonus for a in result.answers.all()] == [50, 0]
    assert (result.bonus, result.score) == (ROUND_BONUS, 50 + ROUND_BONUS)


def test_a_player_does_not_agree_with_themselves(ann: User) -> None:
    play_round(ann, ["wheelbarrow"])
    assert play_round(ann, ["wheelbarrow"]).answers.get().agreement == 0


def test_sending_again_changes_nothing(ann: User) -> None:
    made = open_round(ann)
    first = rounds.submit_answers(ann, made.pk, ["shrimp"])
    again = rounds.submit_answers(ann, made.pk, ["lobster", "crab", "salmon"])
    assert (again.score, again.answered) == (first.score, 1)
    assert Answer.objects.get().text == "shrimp"
    assert total(ann) == (1, first.score)
    assert Word.objects.get().rounds == 1


def test_late_answers_do_not_count(ann: User) -> None:
    made = open_round(ann, ago=HYPONYMS + GRACE_SECONDS + 0.5)
    with pytest.raises(UsageError, match="after the round had ended"):
        rounds.submit_answers(ann, made.pk, ["shrimp"])
    made.refresh_from_db()
    assert made.state == State.LAPSED and not Answer.objects.exists()
    assert total(ann) == (0, 0)
    assert rounds.start_round(ann, ALL, untimed=False, draw=Random(0)).pk != made.pk


def test_answers_may_be_under_way_for_a_second(ann: User) -> None:
    made = open_round(ann, ago=HYPONYMS + GRACE_SECONDS - 0.5)
    assert rounds.compute_seconds_left(made) == 0
    assert rounds.submit_answers(ann, made.pk, ["shrimp"]).state == State.FINISHED


def test_an_untimed_round_waits_and_stands_apart(ann: User) -> None:
    made = open_round(ann, untimed=True, ago=86_400)
    assert rounds.compute_seconds_left(made) is None
    result = rounds.submit_answers(ann, made.pk, ["shrimp"])
    assert (total(ann), total(ann, untimed=True)) == ((0, 0), (1, result.score))


def test_somebody_elses_round_is_not_there(ann: User, ben: User) -> None:
    made = open_round(ann)
    for attempt in (
        lambda: rounds.submit_answers(ben, made.pk, ["shrimp"]),
        lambda: rounds.skip_round(ben, made.pk),
        lambda: rounds.get_round(ben, made.pk),
        lambda: rounds.submit_answers(ben, uuid4(), ["shrimp"]),
    ):
        with pytest.raises(MissingError):
            attempt()
    made.refresh_from_db()
    assert made.state == State.OPEN


def test_the_base_word_is_worth_nothing(ann: User) -> None:
    result = play_round(ann, ["seafood", "SEAFOOD ", "sea-food", "the seafood", "seafoods"])
    assert [a.text for a in result.answers.all()] in ([], ["sea-food"])
    assert all(a.total == 0 for a in result.answers.all())


def test_ten_thousand_answers_are_cut(ann: User) -> None:
    result = play_round(ann, [f"answer{n}" for n in range(10_000)])
    assert result.answered == Answer.objects.count() == MAX_ANSWERS


def test_a_round_with_no_answer_says_nothing_about_the_word(ann: User, ben: User) -> None:
    assert play_round(ann, ["", "  ", "seafood"]).score == 0
    assert total(ann) == (0, 0)
    assert Word.objects.get().rounds == 0
    assert "No other player has played" in play_round(ben, ["shrimp"]).answers.get().why


def test_skipping_counts_once_a_player_and_ends_the_round(ann: User, ben: User) -> None:
    for player in (ann, ann, ben):
        made = open_round(player)
        assert rounds.skip_round(player, made.pk).state == State.SKIPPED
        with pytest.raises(UsageError, match="skipped"):
            rounds.submit_answers(player, made.pk, ["shrimp"])
    assert Word.objects.get().skips == 2


def test_a_finished_round_cannot_be_skipped(ann: User) -> None:
    result = play_round(ann, ["shrimp"])
    assert rounds.skip_round(ann, result.pk).state == State.FINISHED
    assert Word.objects.get().skips == 0


def test_words_know_each_players_first_round(ann: User, ben: User) -> None:
    first = play_round(ann, ["apple"], "fruit")
    play_round(ann, ["pear", "plum"], "fruit")
    second = play_round(ben, ["apple"], "fruit", untimed=True)
    word = Word.objects.get()
    points = sum(made.score - made.bonus for made in (first, second))
    assert (word.rounds, word.points) == (2, points) and points > 0


def test_who_leaves_is_taken_out_of_the_sums(ann: User, ben: User) -> None:
    for player, answers in ((ann, ["shrimp", "crab"]), (ann, ["eel"]), (ben, ["shrimp"])):
        play_round(player, answers)
        rounds.skip_round(player, open_round(player).pk)
    of_ben = Round.objects.get(player=ben, state=State.FINISHED)
    ann.delete()
    word = Word.objects.get()
    assert (word.rounds, word.skips, word.points) == (1, 1, of_ben.score - of_ben.bonus)
    assert set(Answer.objects.values_list("player", flat=True)) == {ben.pk}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["submit", "start"])
def test_two_tabs_at_once_make_one_round(ann: User, step: str) -> None:
    made = open_round(ann) if step == "submit" else None
    together = threading.Barrier(4)
    found: list[object] = []

    def tab(number: int) -> None:
        together.wait()
        try:
            if made is not None:
                found.append(rounds.submit_answers(ann, made.pk, [f"shrimp{number}"]).score)
            else:
                found.append(rounds.start_round(ann, ALL, untimed=False, draw=Random(number)).pk)
        finally:
            connection.close()

    tabs = [threading.Thread(target=tab, args=(number,)) for number in range(4)]
    for one in tabs:
        one.start()
    for one in tabs:
        one.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert Round.objects.count() == 1
    if made is not None:
        assert total(ann)[0] == 1 and Answer.objects.count() == 1


def test_the_database_holds_the_clock(ann: User) -> None:
    """An hour on the server's own clock changes nothing; an hour on the database's does."""
    made = open_round(ann)
    Round.objects.filter(pk=made.pk).update(started_at=F("started_at") + timedelta(seconds=2))
    assert (rounds.compute_seconds_left(made) or 0) > HYPONYMS
    set_back_clock(made, 3600)
    assert rounds.compute_seconds_left(made) == 0
