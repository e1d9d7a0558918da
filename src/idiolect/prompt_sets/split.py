"""Sets divided by prompt, so that no prompt stands on both sides; knows pairs alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.prompt_sets.pairs import HasKey, K, group_by_prompt


def split_by_prompt(
    pairs: Sequence[K], share: float, *, seed: int, purpose: str = "split"
) -> tuple[tuple[K, ...], tuple[K, ...]]:
    """Two parts, the first of ``share`` of the prompts (rounded), each in the given order.

    All pairs of a prompt (``key``) stay together. Which prompts go where depends on the seed,
    the purpose and the set of prompts, not on their order.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share: must be in [0, 1], got {share}")
    keys = sorted(group_by_prompt(pairs))
    random.Random(derive_seed(seed, purpose)).shuffle(keys)
    first = set(keys[: round(share * len(keys))])
    return (
        tuple(pair for pair in pairs if pair.key in first),
        tuple(pair for pair in pairs if pair.key not in first),
    )


def require_disjoint(forget: Sequence[HasKey], retain: Sequence[HasKey]) -> None:
    """Raise UsageError for an empty set, or a prompt that is to be both forgotten and retained."""
    for name, pairs in (("forget", forget), ("retain", retain)):
        if not pairs:
            raise UsageError(f"the {name} set is empty; give it pairs of prompt and response")
    keys = {pair.key for pair in forget}
    both = [number for number, pair in enumerate(retain, start=1) if pair.key in keys]
    if both:
        raise UsageError(
            f"{len(both)} of {len(retain)} retain pairs ask what the forget set asks, the first is "
            f"pair {both[0]}; take those prompts out of one of the sets"
        )
