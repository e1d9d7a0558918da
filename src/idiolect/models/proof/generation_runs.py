"""Generation on the probe's rows: the last tokens of a row are forced, and the logits before them
must be those of the plain forward.

Shapes: ``B`` rows, ``T`` tokens of the longest prompt; ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from idiolect.models.base import Base
from idiolect.models.proof.probe_rows import FORCED, ProbeRows


class _ForceTokens(LogitsProcessor):
    """Leaves each row one choice: its given tokens, one after another."""

    def __init__(self, tokens_BF: Tensor, start: int) -> None:
        self.tokens_BF, self.start = tokens_BF, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores [B, V] that allow one token for each row."""
        forced_B1 = self.tokens_BF[:, input_ids.shape[1] - self.start, None]
        return torch.full_like(scores, -torch.inf).scatter(1, forced_B1, 0.0)


@torch.no_grad()
def generate_rows(base: Base, rows: ProbeRows, *, cached: bool, padded: bool) -> dict[int, Tensor]:
    """Return the logits [V] before each forced token, by token of the plain run.

    ``cached``: with transformers' cache. ``padded``: all rows in one batch, padded on the left;
    else one after another.
    """
    every = range(len(rows.rows))
    found: dict[int, Tensor] = {}
    for batch in [list(every)] if padded else [[row] for row in every]:
        logits = _generate_batch(base, [rows.rows[row] for row in batch], cached=cached)
        for row, logits_FV in zip(batch, logits, strict=True):
            # The logits of the token before predict it.
            first = rows.offsets[row] + rows.lengths[row] - FORCED - 1
            found |= {first + n: logits_V for n, logits_V in enumerate(logits_FV)}
    return found


def _generate_batch(base: Base, rows: Sequence[Sequence[int]], *, cached: bool) -> list[Tensor]:
    """Generate a batch with transformers' ``generate``; returns each row's logits."""
    longest = max(map(len, rows)) - FORCED
    ids_BT = torch.full((len(rows), longest), base.pad_token_id)
    mask_BT = torch.zeros_like(ids_BT)
    for number, row in enumerate(rows):
        prompt = row[:-FORCED]
        ids_BT[number, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BT[number, longest - len(prompt) :] = 1
    forced_BF = torch.tensor([row[-FORCED:] for row in rows], device=base.device)
    output = base.model.generate(
        input_ids=ids_BT.to(base.device),
        attention_mask=mask_BT.to(base.device),
        max_new_tokens=FORCED,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        use_cache=cached,
        eos_token_id=None,
        pad_token_id=base.pad_token_id,
        logits_processor=[_ForceTokens(forced_BF, longest)],
        output_logits=True,
        return_dict_in_generate=True,
    )
    return list(torch.stack(output.logits, dim=1))
