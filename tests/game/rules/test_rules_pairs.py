"""The rules of Nym or Not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.game.rules.pairs import (
    PAIRS_PER_SESSION,
    Pair,
    Vote,
    choose_next_pairs,
    find_majority,
    score_vote,
)
from idiolect.game.rules.relations import Relation


def make_pair(answer: str = "crab", **known: float) -> Pair:
    return Pair(relation=Relation.HYPONYMS, base_word="seafood", answer=answer, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({"yes": 2, "no": 1}, True),
        ({"yes": 1, "no": 2, "likely": 1.0}, False),
        ({"yes": 2, "no": 0}, None),
        ({"yes": 0, "no": 2, "likely": 1.0}, True),
        ({"yes": 2, "no": 2, "likely": 0.0}, False),
        ({"yes": 2, "no": 2}, None),
        ({"likely": 0.8}, None),
    ],
)
def test_find_majority_follows_votes_from_three_on(known, verdict) -> None:
    assert find_majority(make_pair(**known)) is verdict


def test_score_vote_rewards_agreement_and_never_punishes_undecided_pair() -> None:
    decided, undecided = make_pair(yes=3), make_pair()
    assert score_vote(Vote(pair=decided, yes=True)) == 10
    assert score_vote(Vote(pair=decided, yes=False)) == 0
    assert score_vote(Vote(pair=undecided, yes=True)) == 5
    assert score_vote(Vote(pair=undecided, yes=False)) == 5


CANDIDATES = st.lists(
    st.builds(
        Pair,
        relation=st.sampled_from(Relation),
        base_word=st.sampled_from(["seafood", "bird"]),
        answer=st.text("abcdef", min_size=1, max_size=2),
        likely=st.floats(0, 1),
        yes=st.integers(0, 9),
        no=st.integers(0, 9),
    ),
    max_size=80,
)


@given(CANDIDATES, st.integers(0, 2**32))
def test_choose_next_pairs_returns_all_distinct_unseen_pairs_up_to_count(candidates, seed) -> None:
    keys = [(p.relation, p.base_word, p.answer) for p in candidates]
    seen = set(keys[::3])
    chosen = choose_next_pairs(candidates, draw=Random(seed), seen=seen)
    taken = [(p.relation, p.base_word, p.answer) for p in chosen]
    assert len(set(taken)) == len(taken) == min(PAIRS_PER_SESSION, len(set(keys) - seen))
    assert not seen & set(taken)
    assert chosen == choose_next_pairs(candidates, draw=Random(seed), seen=seen)


def test_choose_next_pairs_balances_labels_and_prefers_undecided_pairs() -> None:
    sure = [make_pair(f"sure {n}", likely=0.99) for n in range(100)]
    open_ = [make_pair(f"open {n}", likely=0.6) for n in range(100)]
    no = [make_pair(f"no {n}", likely=0.05) for n in range(300)]
    draw = Random(3)
    counts = {"sure": 0, "open": 0, "no": 0}
    for _ in range(20):
        for chosen in choose_next_pairs(sure + open_ + no, draw=draw):
            counts[chosen.answer.split()[0]] += 1
    # 12 of the 25 pairs of each session are unlikely.
    assert counts["no"] == 20 * 12
    assert counts["open"] > 2 * counts["sure"] > 0
