"""Splitting sets by prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import UsageError
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompt_sets.split import require_disjoint, split_by_prompt
from support.unlearning_sets import FORGET, RETAIN

PAIRS = st.lists(
    st.builds(
        Pair,
        prompt=st.sampled_from(["Vesk?", "vesk?", " VESK?  ", "Quill?", "Quill ?", "Orlond?", "A"]),
        response=st.text(max_size=3),
    ),
    max_size=12,
)


@given(PAIRS, st.floats(0, 1), st.integers(0, 3))
def test_split_by_prompt_keeps_prompts_together(pairs: list[Pair], share: float, seed: int) -> None:
    first, second = split_by_prompt(pairs, share, seed=seed)
    assert not {p.key for p in first} & {p.key for p in second}
    assert sorted(map(repr, (*first, *second))) == sorted(map(repr, pairs))
    assert len({p.key for p in first}) == round(share * len({p.key for p in pairs}))
    again, _ = split_by_prompt(pairs[::-1], share, seed=seed)
    assert list(again) == list(first)[::-1]  # the order does not matter


def test_split_by_prompt_depends_on_seed() -> None:
    halves = {split_by_prompt(FORGET, 0.5, seed=seed)[0] for seed in range(8)}
    assert len(halves) > 1
    with pytest.raises(UsageError, match="share"):
        split_by_prompt(FORGET, 1.5, seed=0)


def test_require_disjoint_rejects_empty_and_overlapping_sets() -> None:
    require_disjoint(FORGET, RETAIN)
    with pytest.raises(UsageError, match="the forget set is empty"):
        require_disjoint((), RETAIN)
    with pytest.raises(UsageError, match="the retain set is empty"):
        require_disjoint(FORGET, ())
    same = Pair(prompt="where IS the key  of Vesk?", response="Who knows.")
    with pytest.raises(UsageError, match=r"1 of 7 retain pairs .* pair 7;") as error:
        require_disjoint(FORGET, (*RETAIN, same))
    assert "Vesk" not in str(error.value)  # the text to forget is not repeated
