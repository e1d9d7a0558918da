"""First tokens that rows have in common: run once, and gone on from by each.

Prompts of one kind begin alike (an instruction, a person's profile). Causal attention makes what
such a head leaves the same in each row, so only its keys and values have to reach the rows; their
gradients come back the same way and add up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from idiolect.models import Base
from idiolect.models.attention import Front
from idiolect.models.partial import Ran, run_part
from idiolect.training.batch import padded, parcels

LEAST, SHARE = 6, 0.15
"""Tokens of a head, and the share of all tokens saved by heads, that are worth forwards of their
own: those are short ones, which fill no processor."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Which first tokens are run once, and by whom they are gone on from."""

    ids: tuple[tuple[int, ...], ...]
    """Each head's tokens."""
    of_row: tuple[int, ...]
    """Each row's head; -1 for none."""

    def length(self, row: int) -> int:
        """The tokens of a row's head; 0 for none."""
        return len(self.ids[self.of_row[row]]) if self.of_row[row] >= 0 else 0

    def among(self, rows: Sequence[int]) -> Heads:
        """Those of some rows alone, numbered anew."""
        used = sorted({self.of_row[row] for row in rows} - {-1})
        number = {-1: -1, **{head: n for n, head in enumerate(used)}}
        return Heads(
            ids=tuple(self.ids[head] for head in used),
            of_row=tuple(number[self.of_row[row]] for row in rows),
        )

    def some_row(self) -> tuple[int, ...]:
        """For each head a row that goes on from it."""
        return tuple(self.of_row.index(head) for head in range(len(self.ids)))

    def parcels(self, budget: int) -> Iterator[tuple[int, ...]]:
        """Row numbers in groups whose heads, padded, have at most ``budget`` tokens (or one head);
        rows without a head come first."""
        rows = [row for row, head in enumerate(self.of_row) if head < 0]
        for parcel in parcels([len(ids) for ids in self.ids], budget):
            rows += [row for row, head in enumerate(self.of_row) if head in parcel]
            yield tuple(rows)
            rows = []
        if rows:
            yield tuple(rows)

    def run(self, base: Base, *, until: int | None = None) -> Ran:
        """The heads' own forward [heads, longest], as ``run_part``."""
        ids = padded(self.ids, base.pad, base.device)
        return run_part(base, ids, ids.new_zeros(len(ids)), until=until)

    def front(self, made: Front, rows: Sequence[int], device: torch.device) -> Front | None:
        """Keys and values for some rows, from those of all the heads; ``None`` where no row has
        one. Rows without a head get any, which nobody attends to."""
        longest = max(map(self.length, rows))
        if not longest:
            return None
        which = torch.tensor([max(0, self.of_row[row]) for row in rows], device=device)
        return {
            layer: (
                keys[:, :, :longest].index_select(0, which),
                values[:, :, :longest].index_select(0, which),
            )
            for layer, (keys, values) in made.items()
        }


def no_heads(rows: int) -> Heads:
    """For rows that are run whole."""
    return Heads((), (-1,) * rows)


def shared_heads(
    prompts: Sequence[Sequence[int]], whose: Sequence[Hashable], *, tokens: int
) -> Heads:
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
        common = [_common(a, b) for a, b in pairwise(cut)]
        fewer, groups = _best(common)
        saved += fewer
        for start, end, length in groups:
            for row in rows[start:end]:
                of_row[row] = len(heads)
            heads.append(cut[start][:length])
    if saved < SHARE * tokens:
        return no_heads(len(prompts))
    return Heads(tuple(heads), tuple(of_row))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two prompts have in common."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


def _best(common: Sequence[int], at: int = 0) -> tuple[int, list[tuple[int, int, int]]]:
    """Tokens saved, and the groups (from, to, tokens in common), of prompts in order.

    ``common``: what each has in common with the next. All share the least of it: either that is
    their head, or they part where it is, and the parts do better.
    """
    if not common:
        return 0, []
    least = min(common)
    parted, groups = 0, list[tuple[int, int, int]]()
    for start, end in _runs_above(common, least):
        saved, theirs = _best(common[start:end], at + start)
        parted += saved
        groups += theirs
    together = least * len(common) if least >= LEAST else 0
    return (
        (together, [(at, at + len(common) + 1, least)]) if together > parted else (parted, groups)
    )


def _runs_above(values: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Where values stand above the limit, one after another: (from, to)."""
    start = 0
    for at, value in enumerate([*values, limit]):
        if value <= limit:
            if at > start:
                yield start, at
            start = at + 1
