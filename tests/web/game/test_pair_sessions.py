"""Nym or Not on the server: pairs, votes, points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from random import Random

import pytest
from django.conf import settings
from django.db.models import F

from idiolect.errors import MissingError, UsageError
from idiolect.game import words
from idiolect.game.predictions import PREDICTIONS_FILE, write_predictions
from idiolect.game.rules.answers import stem
from idiolect.game.rules.pairs import PAIRS_PER_SESSION, SESSION_SECONDS, Pair
from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import pair_sessions
from idiolect.web.game.models import HiddenAnswer, PairSession, PairVote, State
from idiolect.web.game.pair_candidates import UNLISTED_PROBABILITY, gather_candidates
from support.game_site import create_guests, play_round

pytestmark = pytest.mark.django_db
PAIR = {"relation": "hyponyms", "base": "seafood", "answer": "wheelbarrow", "likely": 0.5}


def sitting_of(player: User, *pairs: Mapping[str, object], ago: float = 0.0) -> PairSession:
    """A game on these pairs."""
    made = PairSession.objects.create(player=player, pairs=list(pairs))
    since = F("started_at") - timedelta(seconds=ago)
    PairSession.objects.filter(pk=made.pk).update(started_at=since)
    return made


def test_a_game_has_twenty_five_pairs_half_of_them_true(ann: User) -> None:
    made = pair_sessions.start_pair_session(ann, untimed=False, draw=Random(3))
    assert len(made.pairs) == PAIRS_PER_SESSION
    listed = Counter(
        stem(pair["answer"])
        in words.load_table().get_stems(Relation(pair["relation"]), pair["base"])
        for pair in made.pairs
    )
    assert listed[True] in (12, 13)
    assert pair_sessions.start_pair_session(ann, untimed=False, draw=Random(4)).pk == made.pk


def test_agreeing_with_the_majority_earns_points(ann: User) -> None:
    for voter, yes in zip(create_guests(3), [True, True, False], strict=True):
        pair_sessions.submit_votes(voter, sitting_of(voter, PAIR).pk, {0: yes})
    with_them = pair_sessions.submit_votes(ann, sitting_of(ann, PAIR).pk, {0: True})
    assert with_them.score == 10 and with_them.votes.get().majority is True
    (other,) = create_guests(1)
    assert pair_sessions.submit_votes(other, sitting_of(other, PAIR).pk, {0: False}).score == 0


def test_votes_by_position_and_no_others(ann: User) -> None:
    sure = [PAIR | {"answer": f"thing{n}", "likely": 0.95} for n in range(3)]
    made = sitting_of(ann, *sure)
    result = pair_sessions.submit_votes(ann, made.pk, {0: True, 2: False, 7: True, -1: True})
    assert [(v.answer, v.yes, v.points) for v in result.votes.all()] == [
        ("thing0", True, 10),
        ("thing2", False, 0),
    ]


def test_sending_again_changes_nothing(ann: User) -> None:
    made = sitting_of(ann, PAIR)
    pair_sessions.submit_votes(ann, made.pk, {0: True})
    assert pair_sessions.submit_votes(ann, made.pk, {0: False}).state == State.FINISHED
    assert PairVote.objects.get().yes


def test_late_votes_do_not_count(ann: User) -> None:
    made = sitting_of(ann, PAIR, ago=SESSION_SECONDS + 1.5)
    with pytest.raises(UsageError, match="after the game had ended"):
        pair_sessions.submit_votes(ann, made.pk, {0: True})
    made.refresh_from_db()
    assert made.state == State.LAPSED and not PairVote.objects.exists()


def test_somebody_elses_game_is_not_there(ann: User, ben: User) -> None:
    made = sitting_of(ann, PAIR)
    with pytest.raises(MissingError):
        pair_sessions.submit_votes(ben, made.pk, {0: True})
    assert not PairVote.objects.exists()


def test_a_changed_mind_is_one_vote(ann: User) -> None:
    pair_sessions.submit_votes(ann, sitting_of(ann, PAIR).pk, {0: True})
    pair_sessions.submit_votes(ann, sitting_of(ann, PAIR).pk, {0: False})
    assert not PairVote.objects.get().yes


def answers_of(base: str) -> set[str]:
    """The answers to this word among the pairs that may be asked."""
    return {pair.answer for pair in gather_candidates(Random(0)) if pair.base_word == base}


def test_what_three_players_gave_is_asked_and_less_is_not() -> None:
    players = create_guests(3)
    for player in players[:2]:
        play_round(player, ["wheelbarrow", "sh1t"])
    assert "wheelbarrow" not in answers_of("seafood")
    play_round(players[2], ["wheelbarrow", "sh1t"])
    assert answers_of("seafood") & {"wheelbarrow", "sh1t"} == {"wheelbarrow"}
    HiddenAnswer.objects.create(stem="wheelbarrow")
    assert "wheelbarrow" not in answers_of("seafood")


def test_predictions_are_asked_with_their_probability() -> None:
    path = settings.HOME / PREDICTIONS_FILE
    write_predictions(
        path,
        [Pair(relation=Relation.HYPONYMS, base_word="seafood", answer="kelp", likely=0.6)],
    )
    try:
        found = [pair for pair in gather_candidates(Random(0)) if pair.answer == "kelp"]
    finally:
        path.unlink()
    assert [(pair.base_word, pair.likely) for pair in found] == [("seafood", 0.6)]


def test_begun_pairs_carry_their_votes(ann: User) -> None:
    pair_sessions.submit_votes(
        ann, sitting_of(ann, PAIR | {"likely": UNLISTED_PROBABILITY}).pk, {0: False}
    )
    found = [pair for pair in gather_candidates(Random(0)) if pair.answer == "wheelbarrow"]
    assert [(pair.yes, pair.no, pair.likely) for pair in found] == [(0, 1, UNLISTED_PROBABILITY)]


def test_what_only_two_still_give_is_asked_no_longer(ann: User) -> None:
    players = create_guests(3)
    for player in players:
        play_round(player, ["wheelbarrow"])
    pair_sessions.submit_votes(ann, sitting_of(ann, PAIR).pk, {0: True})
    assert "wheelbarrow" in answers_of("seafood")
    players[0].delete()
    assert "wheelbarrow" not in answers_of("seafood")
