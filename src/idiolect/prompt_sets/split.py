"""Splits sets by prompt, so that no prompt is on both sides."""

from __future__ import annotations

import random
from collections.abc import Sequence

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.prompt_sets.pairs import HasKey, K, group_by_prompt


def split_by_prompt(
    pairs: Sequence[K], share: float, *, seed: int, purpose: str = "split"
) -> tuple[tuple[K, ...], tuple[K, ...]]:
    """Return two parts, the first with ``share`` of the prompts (rounded), each in the given order.

    All pairs of a prompt (``key``) stay together. The assignment depends on the seed, the purpose,
    and the set of prompts, not on their order.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share: must be in [0, 1], got {share}")
    # Sorted before shuffling, so that the order of the pairs does not matter.
    keys = sorted(group_by_prompt(pairs))
    random.Random(derive_seed(seed, purpose)).shuffle(keys)
    first = set(keys[: round(share * len(keys))])
    return (
        tuple(pair for pair in pairs if pair.key in first),
        tuple(pair for pair in pairs if pair.key not in first),
    )


def require_disjoint(forget: Sequence[HasKey], retain: Sequence[HasKey]) -> None:
    """Raise UsageError if a set is empty, or if a prompt is in both sets."""
    for name, pairs in (("forget", forget), ("retain", retain)):
        if not pairs:
            raise UsageError(f"the {name} set is empty; give pairs of prompt and response")
    keys = {pair.key for pair in forget}
    # Report positions, not texts: the prompts may be what must be forgotten.
    both = [number for number, pair in enumerate(retain, start=1) if pair.key in keys]
    if both:
        raise UsageError(
            f"{len(both)} of {len(retain)} retain pairs have prompts of the forget set, first pair "
            f"{both[0]}; remove those prompts from one of the sets"
        )
