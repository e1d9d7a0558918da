"""First tokens that rows have in common: run once, and gone on from by each.

Prompts of one kind begin alike (an instruction, a person's profile). Causal attention makes what
such a head leaves the same in each row, so only its keys and values have to reach the rows; their
gradients come back the same way and add up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch

from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.forward.partial import PartialForwardOutput, forward_part
from idiolect.prompts.batch import batches_within_token_budget, pad_token_ids

MIN_PREFIX_TOKENS, MIN_SAVED_FRACTION = 6, 0.15
"""Tokens of a head, and the share of all tokens saved by heads, that are worth forwards of their
own: those are short ones, which fill no processor."""


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """Which first tokens are run once, and by whom they are gone on from."""

    ids: tuple[tuple[int, ...], ...]
    """Each head's tokens."""
    prefix_of_row: tuple[int, ...]
    """Each row's head; -1 for none."""

    def get_prefix_length(self, row: int) -> int:
        """The tokens of a row's head; 0 for none."""
        return len(self.ids[self.prefix_of_row[row]]) if self.prefix_of_row[row] >= 0 else 0

    def select(self, rows: Sequence[int]) -> SharedPrefixes:
        """Those of some rows alone, numbered anew."""
        used = sorted({self.prefix_of_row[row] for row in rows} - {-1})
        number = {-1: -1, **{head: n for n, head in enumerate(used)}}
        return SharedPrefixes(
            ids=tuple(self.ids[head] for head in used),
            prefix_of_row=tuple(number[self.prefix_of_row[row]] for row in rows),
        )

    def representative_rows(self) -> tuple[int, ...]:
        """For each head a row that goes on from it."""
        return tuple(self.prefix_of_row.index(head) for head in range(len(self.ids)))

    def iter_row_groups(self, budget: int) -> Iterator[tuple[int, ...]]:
        """Row numbers in groups whose heads, padded, have at most ``budget`` tokens (or one head);
        rows without a head come first."""
        rows = [row for row, head in enumerate(self.prefix_of_row) if head < 0]
        for parcel in batches_within_token_budget([len(ids) for ids in self.ids], budget):
            rows += [row for row, head in enumerate(self.prefix_of_row) if head in parcel]
            yield tuple(rows)
            rows = []
        if rows:
            yield tuple(rows)

    def run_prefixes(self, base: Base, *, until: int | None = None) -> PartialForwardOutput:
        """The heads' own forward [heads, longest], as ``run_part``."""
        ids = pad_token_ids(self.ids, base.pad_token_id, base.device)
        return forward_part(base, ids, ids.new_zeros(len(ids)), until=until)

    def gather_past_key_values(
        self, made: PastKeyValues, rows: Sequence[int], device: torch.device
    ) -> PastKeyValues | None:
        """Keys and values for some rows, from those of all the heads; ``None`` where no row has
        one. Rows without a head get any, which nobody attends to."""
        longest = max(map(self.get_prefix_length, rows))
        if not longest:
            return None
        which = torch.tensor([max(0, self.prefix_of_row[row]) for row in rows], device=device)
        return {
            layer: (
                keys[:, :, :longest].index_select(0, which),
                values[:, :, :longest].index_select(0, which),
            )
            for layer, (keys, values) in made.items()
        }


def no_prefixes(rows: int) -> SharedPrefixes:
    """For rows that are run whole."""
    return SharedPrefixes((), (-1,) * rows)


def find_shared_prefixes(
    prompts: Sequence[Sequence[int]], whose: Sequence[Hashable], *, tokens: int
) -> SharedPrefixes:
    """The heads that save most tokens, each shared by rows of one owner; none where that is little
    of the ``tokens`` of all rows.

    At least one token of every prompt stays behind its head.
    """
    by_owner: dict[Hashable, list[int]] = {}
    for row, owner in enumerate(whose):
        by_owner.setdefault(owner, []).append(row)
    heads: list[tuple[int, ...]] = []
    of_row, saved = [-1] * len(prompts), 0
    for rows in by_owner.values():
        rows.sort(key=lambda row: tuple(prompts[row]))
        cut = [tuple(prompts[row])[:-1] for row in rows]
        best = _find_best_grouping([_count_common_tokens(a, b) for a, b in pairwise(cut)])
        saved += best.saved_tokens
        for members, length in best.groups:
            for member in members:
                of_row[rows[member]] = len(heads)
            heads.append(cut[members[0]][:length])
    if saved < MIN_SAVED_FRACTION * tokens:
        return no_prefixes(len(prompts))
    return SharedPrefixes(tuple(heads), tuple(of_row))


def _count_common_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two prompts have in common."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


class _Grouping(NamedTuple):
    """How some prompts are grouped best."""

    saved_tokens: int
    """Tokens that are not run again."""
    groups: list[tuple[list[int], int]]
    """Prompts that share a head, and its tokens."""
    ungrouped: list[int]
    """Prompts in no group, which may join one that is around these."""


def _find_best_grouping(common: Sequence[int]) -> _Grouping:
    """The best groups of prompts in order.

    ``common``: the first tokens that each has in common with the next; all of a span share the
    least of these. Either the prompts that stay loose in deeper groups make one there (whose head
    runs once), or they join one around it.
    """

    @cache
    def solve_range(start: int, end: int, around: int) -> _Grouping:
        """Of prompts ``start`` to ``end``; one that joins a group around them saves ``around``."""
        if start == end:
            return _Grouping(around, [], [start])
        least = min(common[start:end])
        apart = split_range(start, end, least, around)
        if least < MIN_PREFIX_TOKENS:
            return apart
        one = split_range(start, end, least, least)
        if one.saved_tokens - least <= apart.saved_tokens:
            return apart
        return _Grouping(one.saved_tokens - least, [*one.groups, (one.ungrouped, least)], [])

    def split_range(start: int, end: int, least: int, around: int) -> _Grouping:
        """The best groups of the parts that have more than the least in common, together."""
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
