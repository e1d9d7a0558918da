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

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from idiolect.adapters.lora import find_first_layer
from idiolect.adapters.protocol import AdapterConfig
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.inference.nll import nll_from_hidden
from idiolect.models.base import Base
from idiolect.models.forward.partial import forward_part, require_full_attention
from idiolect.prompts.batch import Batch, collate
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.base_prefill import (
    CachedActivations,
    prefill_base,
    stack_past_key_values,
)

DEFAULT_CACHE_BYTES = 2 * 2**30


class ActivationCache:
    """Forwards from what is kept; keeps at most ``keep_bytes``, the oldest goes first."""

    def __init__(
        self,
        base: Base,
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        keep_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self.base, self.forward_tokens, self.max_bytes = base, forward_tokens, keep_bytes
        self.first_layer = find_first_layer(base.model, adapter_config)
        self.invocation = (
            encode_invocation(base.tokenizer) if adapter_config.active == "answer" else ()
        )
        self._entries: dict[Hashable, CachedActivations] = {}
        self.cached_bytes = 0
        self.request_log: list[tuple[Example, ...]] = []
        """Every call of ``prepare``. In its last bits what is kept depends on the company in which
        it ran: who asks again in the same order has the same bits."""

    def find_active_start(self, example: Example) -> int:
        """The first token of an example on which adapters act."""
        if not self.invocation:
            return 0
        return find_invocation(example.ids[: example.answer_start], self.invocation)

    def target_nll(
        self, stack: TrainableStack[object], examples: Sequence[Example], owners: Tensor
    ) -> tuple[Tensor, Batch]:
        """Each target token's negative log likelihood [N] in nats, row ``i`` of slot ``owners[i]``.

        Equal to ``loss.target_nll`` of the whole examples up to rounding.
        """
        kept = [self._entries[self._make_key(e)] for e in examples]
        starts = [self.find_active_start(e) for e in examples]
        batch = collate(
            examples, pad=self.base.pad_token_id, device=self.base.device, starts=starts
        )
        require_full_attention(self.base, max(len(e.ids) for e in examples))
        edge = None
        if self.first_layer:
            edge = torch.nn.utils.rnn.pad_sequence(
                [k.boundary_hidden for k in kept if k.boundary_hidden is not None], batch_first=True
            )[:, : batch.ids.shape[1] - 1]
        with stack.activate(owners):
            hidden = forward_part(
                self.base,
                batch.ids[:, :-1],  # the last column predicts nothing
                batch.start,
                front=stack_past_key_values([k.past_key_values for k in kept], self.first_layer),
                edge=edge,
                first=self.first_layer,
            ).hidden
        hidden = hidden[batch.row, batch.position]
        return nll_from_hidden(self.base.model, hidden, batch.label), batch

    @torch.no_grad()
    def ensure_cached(self, examples: Sequence[Example]) -> None:
        """Run what is not kept yet through the bare base; call it before ``target_nll``."""
        self.request_log.append(tuple(examples))
        missing: dict[Hashable, Example] = {}
        for example in examples:
            key = self._make_key(example)
            if key in self._entries:
                self._entries[key] = self._entries.pop(key)  # the youngest now
            else:
                missing.setdefault(key, example)
        keys = list(missing)
        wanted = [(e.ids, self.find_active_start(e)) for e in missing.values()]
        found = prefill_base(
            self.base, wanted, first=self.first_layer, forward_tokens=self.forward_tokens
        )
        for number, kept in found:
            self._entries[keys[number]] = kept
            self.cached_bytes += kept.num_bytes
        needed = {self._make_key(e) for e in examples}
        for key in list(self._entries):
            if self.cached_bytes <= self.max_bytes:
                break
            if key not in needed:
                self.cached_bytes -= self._entries.pop(key).num_bytes

    def _make_key(self, example: Example) -> Hashable:
        """Examples of one key leave the same: the prompt alone where no edge is kept."""
        start = self.find_active_start(example)
        return (start, example.ids[:-1] if self.first_layer else example.ids[:start])
