"""Tests of Nym or Not on the server: pairs, votes and points."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from django.conf import settings

from idiolect.errors import MissingError, UsageError
from idiolect.game import words
from idiolect.game.predictions import PREDICTIONS_FILE, write_predictions
from idiolect.game.rules.answers import stem
from idiolect.game.rules.pairs import PAIRS_PER_SESSION, SESSION_SECONDS, Pair
from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.models import User
from idiolect.web.game import pair_sessions
from idiolect.web.game.models import HiddenAnswer, PairVote, State
from idiolect.web.game.pair_candidates import UNLISTED_PROBABILITY, gather_candidates
from support.game_site import PAIR, create_guests, create_pair_session, play_round, set_back_clock

pytestmark = pytest.mark.django_db


def test_start_pair_session_has_25_pairs_half_true(ann: User) -> None:
    pair_session = pair_sessions.start_pair_session(ann, untimed=False, draw=Random(3))
    assert len(pair_session.pairs) == PAIRS_PER_SESSION
    listed = Counter(
        stem(pair["answer"])
        in words.load_table().get_stems(Relation(pair["relation"]), pair["base"])
        for pair in pair_session.pairs
    )
    assert listed[True] in (12, 13)
    # A second start returns the open game.
    assert (
        pair_sessions.start_pair_session(ann, untimed=False, draw=Random(4)).pk == pair_session.pk
    )


def test_submit_votes_rewards_majority(ann: User) -> None:
    for voter, yes in zip(create_guests(3), [True, True, False], strict=True):
        pair_sessions.submit_votes(voter, create_pair_session(voter, PAIR).pk, {0: yes})
    with_them = pair_sessions.submit_votes(ann, create_pair_session(ann, PAIR).pk, {0: True})
    assert with_them.score == 10 and with_them.votes.get().majority is True
    (other,) = create_guests(1)
    assert (
        pair_sessions.submit_votes(other, create_pair_session(other, PAIR).pk, {0: False}).score
        == 0
    )


def test_submit_votes_ignores_unknown_positions(ann: User) -> None:
    sure = [PAIR | {"answer": f"thing{n}", "likely": 0.95} for n in range(3)]
    pair_session = create_pair_session(ann, *sure)
    result = pair_sessions.submit_votes(
        ann, pair_session.pk, {0: True, 2: False, 7: True, -1: True}
    )
    assert [(v.answer, v.yes, v.points) for v in result.votes.all()] == [
        ("thing0", True, 10),
        ("thing2", False, 0),
    ]


def test_submit_votes_twice_keeps_first_votes(ann: User) -> None:
    pair_session = create_pair_session(ann, PAIR)
    pair_sessions.submit_votes(ann, pair_session.pk, {0: True})
    assert pair_sessions.submit_votes(ann, pair_session.pk, {0: False}).state == State.FINISHED
    assert PairVote.objects.get().yes


def test_submit_votes_rejects_late_votes(ann: User) -> None:
    pair_session = create_pair_session(ann, PAIR, ago=SESSION_SECONDS + 1.5)
    with pytest.raises(UsageError, match="after the game had ended"):
        pair_sessions.submit_votes(ann, pair_session.pk, {0: True})
    pair_session.refresh_from_db()
    assert pair_session.state == State.LAPSED and not PairVote.objects.exists()


@pytest.mark.finding("http-held")
def test_submit_votes_rejects_game_of_other_player(ann: User, ben: User) -> None:
    pair_session = create_pair_session(ann, PAIR)
    with pytest.raises(MissingError):
        pair_sessions.submit_votes(ben, pair_session.pk, {0: True})
    assert not PairVote.objects.exists()


def test_submit_votes_replaces_earlier_vote_on_pair(ann: User) -> None:
    pair_sessions.submit_votes(ann, create_pair_session(ann, PAIR).pk, {0: True})
    pair_sessions.submit_votes(ann, create_pair_session(ann, PAIR).pk, {0: False})
    assert not PairVote.objects.get().yes


def find_candidate_answers(base: str) -> set[str]:
    """Returns the answers to this word among the candidate pairs."""
    return {pair.answer for pair in gather_candidates(Random(0)) if pair.base_word == base}


def test_gather_candidates_requires_three_players_per_answer() -> None:
    players = create_guests(3)
    for player in players[:2]:
        play_round(player, ["wheelbarrow", "sh1t"])
    assert "wheelbarrow" not in find_candidate_answers("seafood")
    play_round(players[2], ["wheelbarrow", "sh1t"])
    assert find_candidate_answers("seafood") & {"wheelbarrow", "sh1t"} == {"wheelbarrow"}
    HiddenAnswer.objects.create(stem="wheelbarrow")
    assert "wheelbarrow" not in find_candidate_answers("seafood")


def test_gather_candidates_includes_predictions_with_probability() -> None:
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


def test_gather_candidates_includes_votes(ann: User) -> None:
    pair_sessions.submit_votes(
        ann, create_pair_session(ann, PAIR | {"likely": UNLISTED_PROBABILITY}).pk, {0: False}
    )
    found = [pair for pair in gather_candidates(Random(0)) if pair.answer == "wheelbarrow"]
    assert [(pair.yes, pair.no, pair.likely) for pair in found] == [(0, 1, UNLISTED_PROBABILITY)]


def test_gather_candidates_drops_answers_of_deleted_players(ann: User) -> None:
    players = create_guests(3)
    for player in players:
        play_round(player, ["wheelbarrow"])
    pair_sessions.submit_votes(ann, create_pair_session(ann, PAIR).pk, {0: True})
    assert "wheelbarrow" in find_candidate_answers("seafood")
    # With only two players left, the answer is hidden although the pair has a vote.
    players[0].delete()
    assert "wheelbarrow" not in find_candidate_answers("seafood")


@pytest.mark.finding("clock-set-back")
def test_submit_votes_ends_game_that_began_in_the_future(ann: User) -> None:
    pair_session = create_pair_session(ann, PAIR)
    set_back_clock(pair_session, -3600)
    with pytest.raises(UsageError, match="after the game had ended"):
        pair_sessions.submit_votes(ann, pair_session.pk, {0: True})
    pair_session.refresh_from_db()
    assert pair_session.state == State.LAPSED
