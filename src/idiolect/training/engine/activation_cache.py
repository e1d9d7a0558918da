"""A cache of activations that no adapter changes: computed once by the base, reused in each step.

Two settings make this possible. If adapters act only from the invocation tokens on
(``lora.active``), the prompt before it contributes only keys and values (activated LoRA; Greenewald
et al., 2025). If adapters are only in the last layers (``lora.top_layers``), the layers below
contribute the hidden states at their upper boundary. Both are the same in all epochs, and for all
people with the same prompt. The result equals that of the whole forward, up to rounding.

Shapes: ``B`` rows, ``S`` tokens from each row's start on, ``N`` target tokens, ``D`` width of the
model.
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
from idiolect.models.forward.partial import forward_part
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
    """Caches the activations of examples and runs forwards from them; check ``has_full_attention``
    of the longest example first.

    Holds at most ``keep_bytes`` (more only if one call needs it); the least recently used entry is
    dropped first.
    """

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
        """The examples of each call of ``ensure_cached``. The last bits of an entry depend on the
        other rows of its forward; the same calls in the same order give the same bits."""

    def find_active_start(self, example: Example) -> int:
        """Return the position of the first token of an example on which adapters act."""
        if not self.invocation:
            return 0
        return find_invocation(example.ids[: example.answer_start], self.invocation)

    def target_nll(
        self, stack: TrainableStack[object], examples: Sequence[Example], owners: Tensor
    ) -> tuple[Tensor, Batch]:
        """Compute the negative log likelihood of each target token [N], in nats, and the batch.

        Row ``i`` uses slot ``owners[i]``. All examples must be cached (``ensure_cached``). Equal to
        ``compute_target_nll`` of the whole examples, up to rounding.
        """
        entries = [self._entries[self._make_key(e)] for e in examples]
        starts = [self.find_active_start(e) for e in examples]
        batch = collate(
            examples, pad=self.base.pad_token_id, device=self.base.device, starts=starts
        )
        # The hidden states that enter the first adapted layer [B, S, D], if layers below it exist.
        boundary_BSD = None
        if self.first_layer:
            boundary_BSD = torch.nn.utils.rnn.pad_sequence(
                [e.boundary_hidden for e in entries if e.boundary_hidden is not None],
                batch_first=True,
            )[:, : batch.ids.shape[1] - 1]
        # Run the adapted layers on the tokens from each row's start on; attention also sees the
        # cached keys and values of the tokens before it.
        with stack.activate(owners):
            hidden_BSD = forward_part(
                self.base,
                batch.ids[:, :-1],  # the last column predicts nothing
                batch.start,
                front=stack_past_key_values([e.past_key_values for e in entries], self.first_layer),
                edge=boundary_BSD,
                first=self.first_layer,
            ).hidden
        hidden_ND = hidden_BSD[batch.row, batch.position]
        return nll_from_hidden(self.base.model, hidden_ND, batch.label), batch

    @torch.no_grad()
    def ensure_cached(self, examples: Sequence[Example]) -> None:
        """Run the examples that are not cached through the base; call it before ``target_nll``."""
        self.request_log.append(tuple(examples))
        # Find what is missing. A dict keeps insertion order, so its first key is the oldest entry.
        missing: dict[Hashable, Example] = {}
        for example in examples:
            key = self._make_key(example)
            if key in self._entries:
                self._entries[key] = self._entries.pop(key)  # now the most recently used
            else:
                missing.setdefault(key, example)
        # Run the missing examples through the base and store what they leave.
        keys = list(missing)
        wanted = [(e.ids, self.find_active_start(e)) for e in missing.values()]
        found = prefill_base(
            self.base, wanted, first=self.first_layer, forward_tokens=self.forward_tokens
        )
        for number, entry in found:
            self._entries[keys[number]] = entry
            self.cached_bytes += entry.num_bytes
        # Drop the oldest entries beyond the limit, but none that this step needs.
        needed = {self._make_key(e) for e in examples}
        for key in list(self._entries):
            if self.cached_bytes <= self.max_bytes:
                break
            if key not in needed:
                self.cached_bytes -= self._entries.pop(key).num_bytes

    def _make_key(self, example: Example) -> Hashable:
        """Return a key that is equal for examples with equal activations.

        Without cached hidden states that is the prompt alone.
        """
        start = self.find_active_start(example)
        return (start, example.ids[:-1] if self.first_layer else example.ids[:start])
