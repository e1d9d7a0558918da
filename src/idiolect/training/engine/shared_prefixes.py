"""Prefixes that rows share: run once, then continued by each row.

Prompts of one kind begin with the same tokens (an instruction, a person's profile). With causal
attention, the prefix has the same keys and values in each row, so one forward computes them for all
rows. The gradients from the rows add up at these keys and values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.forward.partial import PartialForwardOutput, forward_part
from idiolect.prompts.batch import batches_within_token_budget, pad_token_ids

MIN_PREFIX_TOKENS, MIN_SAVED_FRACTION = 6, 0.15
"""Minimum tokens of a prefix, and minimum share of all tokens that prefixes must save. Below that,
their own short forwards cost more than they save."""


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """The prefixes of some rows, and which row continues which prefix."""

    ids: tuple[tuple[int, ...], ...]
    """The tokens of each prefix."""
    prefix_of_row: tuple[int, ...]
    """The prefix of each row; -1 for none."""

    def get_prefix_length(self, row: int) -> int:
        """Return the number of tokens of a row's prefix; 0 for none."""
        return len(self.ids[self.prefix_of_row[row]]) if self.prefix_of_row[row] >= 0 else 0

    def select(self, rows: Sequence[int]) -> SharedPrefixes:
        """Return the prefixes of some rows only, renumbered."""
        used = sorted({self.prefix_of_row[row] for row in rows} - {-1})
        number = {-1: -1, **{prefix: n for n, prefix in enumerate(used)}}
        return SharedPrefixes(
            ids=tuple(self.ids[prefix] for prefix in used),
            prefix_of_row=tuple(number[self.prefix_of_row[row]] for row in rows),
        )

    def representative_rows(self) -> tuple[int, ...]:
        """Return one row for each prefix."""
        return tuple(self.prefix_of_row.index(prefix) for prefix in range(len(self.ids)))

    def iter_row_groups(self, budget: int) -> Iterator[tuple[int, ...]]:
        """Yield row numbers in groups whose padded prefixes have at most ``budget`` tokens.

        A group has at least one prefix. Rows without a prefix are in the first group.
        """
        rows = [row for row, prefix in enumerate(self.prefix_of_row) if prefix < 0]
        for batch in batches_within_token_budget([len(ids) for ids in self.ids], budget):
            rows += [row for row, prefix in enumerate(self.prefix_of_row) if prefix in batch]
            yield tuple(rows)
            rows = []
        if rows:
            yield tuple(rows)

    def run_prefixes(self, base: Base, *, until: int | None = None) -> PartialForwardOutput:
        """Run the prefixes, right-padded, in one forward; ``until``: the layers before this one."""
        ids = pad_token_ids(self.ids, base.pad_token_id, base.device)
        return forward_part(base, ids, ids.new_zeros(len(ids)), until=until)

    def gather_past_key_values(
        self, prefix_kv: PastKeyValues, rows: Sequence[int], device: torch.device
    ) -> PastKeyValues | None:
        """Return keys and values for some rows, from those of all prefixes.

        ``None`` if no row has a prefix. A row without one gets zeros, which its attention mask
        hides; with another's keys, a NaN of theirs would pass the mask.
        """
        longest = max(map(self.get_prefix_length, rows))
        if not longest:
            return None
        prefix_indices = torch.tensor(
            [max(0, self.prefix_of_row[row]) for row in rows], device=device
        )
        lacking = [self.prefix_of_row[row] < 0 for row in rows]
        lacking_B111 = torch.tensor(lacking, device=device)[:, None, None, None]

        def select_rows(part: Tensor) -> Tensor:
            found = part[:, :, :longest].index_select(0, prefix_indices)
            return found.masked_fill(lacking_B111, 0) if any(lacking) else found

        return {
            layer: (select_rows(keys), select_rows(values))
            for layer, (keys, values) in prefix_kv.items()
        }


def uses_prefixes(base: Base) -> bool:
    """Return whether the base can continue padded rows from the keys and values of prefixes."""
    return base.ways.prefix and base.ways.batched


def no_prefixes(rows: int) -> SharedPrefixes:
    """Return the value for rows that run whole."""
    return SharedPrefixes((), (-1,) * rows)


def find_shared_prefixes(
    prompts: Sequence[Sequence[int]], whose: Sequence[Hashable], *, tokens: int
) -> SharedPrefixes:
    """Find the prefixes that save most tokens; rows of different owners never share one.

    Returns no prefixes if they save too little of ``tokens``, the tokens of all rows. At least one
    token of each prompt stays after its prefix.
    """
    by_owner: dict[Hashable, list[int]] = {}
    for row, owner in enumerate(whose):
        by_owner.setdefault(owner, []).append(row)
    prefixes: list[tuple[int, ...]] = []
    of_row, saved = [-1] * len(prompts), 0
    for rows in by_owner.values():
        # Sorted prompts with a common prefix are neighbors, so only neighbors must be compared.
        rows.sort(key=lambda row: tuple(prompts[row]))
        prompts_cut = [tuple(prompts[row])[:-1] for row in rows]
        best = _find_best_grouping([_count_common_tokens(a, b) for a, b in pairwise(prompts_cut)])
        saved += best.saved_tokens
        for members, length in best.groups:
            for member in members:
                of_row[rows[member]] = len(prefixes)
            prefixes.append(prompts_cut[members[0]][:length])
    if saved < MIN_SAVED_FRACTION * tokens:
        return no_prefixes(len(prompts))
    return SharedPrefixes(tuple(prefixes), tuple(of_row))


def _count_common_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the equal tokens at the start of two prompts."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


class _Grouping(NamedTuple):
    """A grouping of prompts, and what it saves."""

    saved_tokens: int
    """Tokens that do not run again."""
    groups: list[tuple[list[int], int]]
    """(prompts, number of tokens of their shared prefix) of each group."""
    ungrouped: list[int]
    """Prompts in no group; a larger group around them may take them."""


def _find_best_grouping(common: Sequence[int]) -> _Grouping:
    """Find the grouping of sorted prompts that saves most tokens.

    ``common[i]`` is the number of tokens that prompts ``i`` and ``i + 1`` share; a range of prompts
    shares the minimum over the range. Dynamic programming over ranges: the prompts that smaller
    groups leave over either form a group of the whole range (whose prefix runs once), or join a
    group around it.
    """

    @cache
    def solve_range(start: int, end: int, around: int) -> _Grouping:
        """Solve prompts ``start`` to ``end``, if each ungrouped one saves ``around`` tokens."""
        if start == end:
            return _Grouping(around, [], [start])
        least = min(common[start:end])
        # Choice 1: no group of this range; ungrouped prompts may join one around it.
        separate = split_range(start, end, least, around)
        if least < MIN_PREFIX_TOKENS:
            return separate
        # Choice 2: one group of all ungrouped prompts; its prefix runs once, hence minus least.
        grouped = split_range(start, end, least, least)
        if grouped.saved_tokens - least <= separate.saved_tokens:
            return separate
        return _Grouping(
            grouped.saved_tokens - least, [*grouped.groups, (grouped.ungrouped, least)], []
        )

    def split_range(start: int, end: int, least: int, around: int) -> _Grouping:
        """Split the range at the least common places, and solve the parts."""
        cuts = [n for n in range(start, end) if common[n] == least]
        parts = [
            solve_range(one, other, around)
            for one, other in zip([start, *(n + 1 for n in cuts)], [*cuts, end], strict=True)
        ]
        return _Grouping(
            sum(part.saved_tokens for part in parts),
            [group for part in parts for group in part.groups],
            [prompt for part in parts for prompt in part.ungrouped],
        )

    return solve_range(0, len(common), 0)
