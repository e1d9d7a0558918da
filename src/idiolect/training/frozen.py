"""What of an example no adapter changes: run through the bare base once, kept, and gone on from.

Where adapters act from the call for an answer on (``lora.active``), the prompt before it leaves
nothing but keys and values (activated LoRA; Greenewald et al., 2025). Where they sit in the last
layers (``lora.top_layers``), the layers below leave the activations at their upper edge. Both are
the same in every epoch, and for everyone who is asked the same. The mathematics is that of the
whole forward: only what would come out equal again is not computed again.

Shapes: ``L`` adapted layers (the last ones), ``H`` heads of keys, ``P`` tokens of the prompt that
are gone past, ``S`` the others, ``d``/``D`` widths of a head and of the model.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters import LoraConfig, Stack
from idiolect.adapters.lora import first_layer
from idiolect.errors import UsageError
from idiolect.models import Base, Example, invocation_of, invoked_at
from idiolect.models.base import head_logits
from idiolect.training.batch import Batch, collate, parcels
from idiolect.training.loss import nll_of

KEPT_BYTES = 2 * 2**30


@dataclass(slots=True)
class _Kept:
    """What one example leaves."""

    past: Tensor | None
    """Keys and values of the prompt [L, 2, H, P, d]; ``None`` where nothing is gone past."""
    edge: Tensor | None
    """What enters the first adapted layer [S, D]; ``None`` where that is the first of all."""

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.past, self.edge) if t is not None)


class _Past:
    """Stands where transformers expects a cache: takes in what layers make, or puts the kept in
    front of it."""

    is_compileable = False
    is_sliding = (False,)

    def __init__(self, first: int, kept: Tensor | None = None) -> None:
        self.first, self.kept = first, kept
        self.made: list[tuple[Tensor, Tensor]] = []

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, P + S, d] that a layer attends to."""
        if self.kept is None:
            if layer >= self.first:
                self.made.append((keys, values))
            return keys, values
        front = self.kept[layer - self.first]
        return torch.cat([front[0], keys], dim=2), torch.cat([front[1], values], dim=2)


class Frozen:
    """Forwards from what is kept; keeps at most ``keep_bytes``, the oldest goes first."""

    def __init__(
        self,
        base: Base,
        lora: LoraConfig,
        *,
        forward_tokens: int,
        keep_bytes: int = KEPT_BYTES,
    ) -> None:
        self.base, self.forward_tokens, self.keep_bytes = base, forward_tokens, keep_bytes
        self.decoder: Any = base.model.get_decoder()
        self.first = first_layer(base.model, lora)
        self.invocation = invocation_of(base.tokenizer) if lora.active == "answer" else ()
        self._kept: dict[Hashable, _Kept] = {}
        self.kept_bytes = 0

    def start(self, example: Example) -> int:
        """The first token of an example on which adapters act."""
        if not self.invocation:
            return 0
        return invoked_at(example.ids[: example.answer_start], self.invocation)

    def target_nll(
        self, stack: Stack, examples: Sequence[Example], owners: Tensor
    ) -> tuple[Tensor, Batch]:
        """Each target token's negative log likelihood [N] in nats, row ``i`` of slot ``owners[i]``.

        Equal to ``loss.target_nll`` of the whole examples up to rounding.
        """
        kept = [self._kept[self._key(e)] for e in examples]
        starts = [self.start(e) for e in examples]
        batch = collate(examples, pad=self.base.pad, device=self.base.device, starts=starts)
        past = _beside([k.past for k in kept], max(starts))
        width = batch.ids.shape[1] - 1  # the last column predicts nothing
        inputs: dict[str, Any] = {"input_ids": batch.ids[:, :-1]}
        if self.first:
            edge = torch.nn.utils.rnn.pad_sequence(
                [k.edge for k in kept if k.edge is not None], batch_first=True
            )
            inputs = {"inputs_embeds": edge[:, :width]}
        with stack.applied(owners), self._upper_layers(inputs.get("inputs_embeds")):
            hidden = self.decoder(
                **inputs,
                attention_mask=self._mask(batch.start, max(starts), width),
                position_ids=batch.start[:, None] + torch.arange(width, device=batch.start.device),
                past_key_values=None if past is None else _Past(self.first, past),
                use_cache=False,
            ).last_hidden_state
        logits = head_logits(self.base.model, hidden[batch.row, batch.position])
        return nll_of(logits, batch), batch

    @torch.no_grad()
    def prepare(self, examples: Sequence[Example]) -> None:
        """Run what is not kept yet through the bare base; call it before ``target_nll``."""
        missing: dict[Hashable, Example] = {}
        for example in examples:
            key = self._key(example)
            if key in self._kept:
                self._kept[key] = self._kept.pop(key)  # the youngest now
            else:
                missing.setdefault(key, example)
        items = list(missing.items())
        for parcel in parcels([len(e.ids) for _, e in items], self.forward_tokens):
            chosen = [items[i] for i in parcel]
            for (key, _), kept in zip(chosen, self._run([e for _, e in chosen]), strict=True):
                self._kept[key] = kept
                self.kept_bytes += kept.bytes
        needed = {self._key(e) for e in examples}
        for key in list(self._kept):
            if self.kept_bytes <= self.keep_bytes:
                break
            if key not in needed:
                self.kept_bytes -= self._kept.pop(key).bytes

    def _key(self, example: Example) -> Hashable:
        """Examples of one key leave the same: the prompt alone where no edge is kept."""
        start = self.start(example)
        return (start, example.ids[:-1] if self.first else example.ids[:start])

    def _run(self, examples: Sequence[Example]) -> Iterator[_Kept]:
        """What each example leaves, in order."""
        starts = [self.start(e) for e in examples]
        ends = [len(e.ids) - 1 if self.first else s for e, s in zip(examples, starts, strict=True)]
        self._require_full_attention(max(len(e.ids) for e in examples))
        ids = torch.full((len(examples), max(1, *ends)), self.base.pad, dtype=torch.long)
        for row, (example, end) in enumerate(zip(examples, ends, strict=True)):
            ids[row, :end] = torch.tensor(example.ids[:end])
        recorder = _Past(self.first)
        edge: list[Tensor] = []
        with self._noting(edge):
            self.decoder(
                input_ids=ids.to(self.base.device),
                attention_mask=self._mask(torch.zeros(len(ids), dtype=torch.long), 0, ids.shape[1]),
                position_ids=torch.arange(ids.shape[1], device=self.base.device)[None],
                past_key_values=recorder,
                use_cache=False,
            )
        made = torch.stack([torch.stack(pair) for pair in recorder.made])  # [L, 2, B, H, T, d]
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            yield _Kept(
                past=made[:, :, row, :, :start].clone() if start else None,
                edge=edge[0][row, start:end].clone() if self.first else None,
            )

    def _mask(self, starts: Tensor, longest: int, width: int) -> Tensor:
        """What is added to attention scores [B, 1, S, P + S]: a row sees its own prompt's tokens
        and its own earlier ones."""
        device = self.base.device
        behind = torch.arange(longest, device=device) < starts.to(device)[:, None]  # [B, P]
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        rows = len(starts)
        seen = torch.cat(
            [behind[:, None].expand(rows, width, longest), causal.expand(rows, width, width)], dim=2
        )
        lowest = torch.finfo(self.base.dtype).min
        mask = torch.zeros(rows, 1, width, longest + width, dtype=self.base.dtype, device=device)
        return mask.masked_fill_(~seen[:, None], lowest)

    def _require_full_attention(self, longest: int) -> None:
        config = self.base.model.config
        window = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
        if window and longest > window and any(kind != "full_attention" for kind in kinds):
            raise UsageError(
                f"{longest} tokens are more than the {window} that layers of {self.base.name} see; "
                "give shorter prompts (prompt.max_tokens), or use lora.active 'all' with "
                "lora.top_layers 0"
            )

    @contextmanager
    def _upper_layers(self, edge: Tensor | None) -> Iterator[None]:
        """While inside, the decoder starts with its first adapted layer, from ``edge``."""
        if edge is None:
            yield
            return
        layers = self.decoder.layers
        # Set by a hook, since what a decoder does to embeddings differs from family to family.
        handle = layers[self.first].register_forward_pre_hook(
            lambda module, inputs: (edge, *inputs[1:])
        )
        self.decoder.layers = layers[self.first :]
        try:
            yield
        finally:
            self.decoder.layers = layers
            handle.remove()

    @contextmanager
    def _noting(self, edge: list[Tensor]) -> Iterator[None]:
        """While inside, what enters the first adapted layer is put into ``edge``."""
        handle = self.decoder.layers[self.first].register_forward_pre_hook(
            lambda module, inputs: edge.append(inputs[0])
        )
        try:
            yield
        finally:
            handle.remove()


def _beside(pasts: Sequence[Tensor | None], longest: int) -> Tensor | None:
    """Keys and values of many rows as one [L, 2, B, H, P, d], zeros where a row's prompt ends."""
    some = [p for p in pasts if p is not None]
    if not some:
        return None
    layers, two, heads, _, width = some[0].shape
    out = some[0].new_zeros(layers, two, len(pasts), heads, longest, width)
    for row, past in enumerate(pasts):
        if past is not None:
            out[:, :, row, :, : past.shape[3]] = past
    return out
