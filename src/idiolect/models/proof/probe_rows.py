"""The rows of token ids on which a base is tried.

There are three: the first two begin alike, the third does not, and all have different lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.models.base import Base

LONGEST, SHORTEST = 13, 8
"""Bounds of the longest row, in tokens. Longer rows would take longer and show no more."""
MAX_SHARED = 5
FORCED = 3
"""The last tokens of a row, which generation continues with."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRows:
    """Rows of token ids, and which of their tokens predict others."""

    rows: tuple[tuple[int, ...], ...]
    shared: int
    """The number of tokens with which the first two rows begin alike."""
    device: torch.device

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of tokens of each row."""
        return tuple(map(len, self.rows))

    @property
    def offsets(self) -> tuple[int, ...]:
        """The index of each row's first token, if rows follow one another."""
        return tuple(sum(self.lengths[:n]) for n in range(len(self.rows)))

    def list_predicting(self, row: int) -> range:
        """Return the positions of a row that predict its later tokens, behind the shared ones."""
        return range(self.shared, len(self.rows[row]) - 1)

    def make_labels(self, row: int) -> Tensor:
        """Return the tokens that these positions predict."""
        return torch.tensor(self.rows[row][self.shared + 1 :], device=self.device)

    def make_row_numbers(self) -> Tensor:
        """Return the row of each token, if rows follow one another."""
        return torch.arange(len(self.rows)).repeat_interleave(torch.tensor(self.lengths))


def make_probe_rows(base: Base, span: int | None) -> ProbeRows:
    """Draw rows of ordinary tokens; ``span``: the tokens to which every layer attends, if there is
    a limit, which the longest row keeps if it can."""
    longest = LONGEST if span is None else max(SHORTEST, min(LONGEST, span))
    shared = min(MAX_SHARED, longest - 3 - FORCED)
    # Special tokens stand for images, for the end of a text, or for padding.
    special = _list_special_tokens(base)
    vocabulary = base.pad_token_id + 1
    ordinary = [token for token in range(min(vocabulary, 4096)) if token not in special]
    generator = torch.Generator().manual_seed(17)
    order = torch.randperm(len(ordinary), generator=generator).tolist()
    drawn = iter([ordinary[n] for n in order] * (1 + 3 * longest // len(ordinary)))
    start = [next(drawn) for _ in range(shared)]
    rows = (
        (*start, *(next(drawn) for _ in range(longest - shared))),
        (*start, *(next(drawn) for _ in range(longest - 3 - shared))),
        tuple(next(drawn) for _ in range(longest - 2)),
    )
    return ProbeRows(rows, shared, base.device)


def _list_special_tokens(base: Base) -> set[int]:
    """Return the ids that any of the model's configs names, and the tokenizer's own."""
    found = {base.pad_token_id, *base.tokenizer.all_special_ids}
    fields: dict[str, Any] = base.model.config.to_dict()
    for part in (fields, *(value for value in fields.values() if isinstance(value, dict))):
        for name, value in part.items():
            if str(name).endswith(("token_id", "token_index")):
                found.update(one for one in (value if isinstance(value, list) else [value]) if one)
    return found
