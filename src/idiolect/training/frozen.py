"""What of an example no adapter changes: run through the bare base once, kept, and gone on from.

Where adapters act from the call for an answer on (``lora.active``), the prompt before it leaves
nothing but keys and values (activated LoRA; Greenewald et al., 2025). Where they sit in the last
layers (``lora.top_layers``), the layers below leave the activations at their upper edge. Both are
the same in every epoch, and for everyone who is asked the same. The mathematics is that of the
whole forward: only what would come out equal again is not computed again.

Shapes: ``L`` adapted layers (the last ones), ``B`` rows, ``H`` heads of keys, ``P`` tokens of the
prompt that are gone past, ``S`` the others, ``d``/``D`` widths of a head and of the model.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.adapters import LoraConfig, Stack
from idiolect.adapters.lora import first_layer
from idiolect.models import Base, Example, invocation_of, invoked_at
from idiolect.models.attention import Front
from idiolect.models.partial import Ran, require_full_attention, run_part
from idiolect.training.batch import Batch, collate, parcels
from idiolect.training.heads import Heads, shared_heads
from idiolect.training.loss import head_nll

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
        require_full_attention(self.base, max(len(e.ids) for e in examples))
        edge = None
        if self.first:
            edge = torch.nn.utils.rnn.pad_sequence(
                [k.edge for k in kept if k.edge is not None], batch_first=True
            )[:, : batch.ids.shape[1] - 1]
        with stack.applied(owners):
            hidden = run_part(
                self.base,
                batch.ids[:, :-1],  # the last column predicts nothing
                batch.start,
                front=self._beside([k.past for k in kept], max(starts)),
                edge=edge,
                layer=self.first,
            ).hidden
        hidden = hidden[batch.row, batch.position]
        return head_nll(self.base.model, hidden, batch.label), batch

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
        keys, wanted = list(missing), list(missing.values())
        heads = shared_heads(
            [self._prompt(e) for e in wanted],
            [None] * len(wanted),
            tokens=sum(map(self._end, wanted)),
        )
        widths = [self._end(e) - heads.length(row) for row, e in enumerate(wanted)]
        for parcel in parcels(widths, self.forward_tokens):
            chosen = [wanted[row] for row in parcel]
            for row, kept in zip(parcel, self._run(chosen, heads.among(parcel)), strict=True):
                self._kept[keys[row]] = kept
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

    def _end(self, example: Example) -> int:
        """How many of an example's tokens run through the bare base."""
        return len(example.ids) - 1 if self.first else self.start(example)

    def _prompt(self, example: Example) -> tuple[int, ...]:
        """Of these, the ones on which no adapter acts, or all: what may be shared."""
        return example.ids[: self.start(example) or self._end(example)]

    def _run(self, examples: Sequence[Example], heads: Heads) -> Iterator[_Kept]:
        """What each example leaves, in order."""
        base, device = self.base, self.base.device
        begin = [heads.length(row) for row in range(len(examples))]
        widths = [self._end(e) - at for e, at in zip(examples, begin, strict=True)]
        ids = torch.full((len(examples), max(1, *widths)), base.pad, dtype=torch.long)
        for row, (example, at, width) in enumerate(zip(examples, begin, widths, strict=True)):
            ids[row, :width] = torch.tensor(example.ids[at : at + width])
        front: Front | None = None
        head: Ran | None = None
        if heads.ids:
            head = heads.run(base, layer=self.first)
            front = heads.front(head.made, device)
        starts = torch.tensor(begin, device=device)
        ran = run_part(base, ids.to(device), starts, front=front, layer=self.first)
        own, heads_own = self._stacked(ran), self._stacked(head) if head else None
        for row, (example, at, width) in enumerate(zip(examples, begin, widths, strict=True)):
            start = self.start(example)
            past = own[:, :, row, :, : start - at] if start else None
            edge = None if ran.edge is None else ran.edge[row, max(0, start - at) : width]
            if head and heads_own is not None and at:
                which = heads.of_row[row]
                if past is not None:
                    past = torch.cat([heads_own[:, :, which, :, :at], past], dim=3)
                elif edge is not None and head.edge is not None:
                    edge = torch.cat([head.edge[which, :at], edge])
            yield _Kept(*(None if t is None else t.clone() for t in (past, edge)))

    def _stacked(self, ran: Ran) -> Tensor:
        """Keys and values of the adapted layers [L, 2, B, H, T, d]."""
        layers = range(self.first, 1 + max(ran.made))
        return torch.stack([torch.stack(ran.made[layer]) for layer in layers])

    def _beside(self, pasts: Sequence[Tensor | None], longest: int) -> Front | None:
        """Keys and values of many rows, by layer [B, H, P, d], zeros where a row's prompt ends."""
        some = [p for p in pasts if p is not None]
        if not some:
            return None
        layers, two, heads, _, width = some[0].shape
        out = some[0].new_zeros(layers, two, len(pasts), heads, longest, width)
        for row, past in enumerate(pasts):
            if past is not None:
                out[:, :, row, :, : past.shape[3]] = past
        return {self.first + n: (both[0], both[1]) for n, both in enumerate(out)}
