"""Many people's adapters in one forward: stacked tensors, and the hooks that apply them.

Shapes: ``U`` slots, ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` widths in and out, ``R`` rank.
Row ``i`` of a batch belongs to slot ``rows[i]``; slot -1 is the bare base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import Hook, forward_hooks
from idiolect.adapters.lora import LoraAdapter, LoraConfig, Site, require_lora, sites
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import Dropout, TrainableStack
from idiolect.adapters.stacks.ops_packed import (
    Tokens,
    add_lora_to_tokens,
    add_trained_lora_to_tokens,
)
from idiolect.adapters.stacks.ops_padded import Pair, Rows, add_lora, add_trained_lora
from idiolect.models.base import Base


class Stack(TrainableStack[LoraAdapter]):
    """The adapters of ``U`` slots: per site A [U, R, D] and B [U, O, R], views of one buffer each.

    ``weights`` and ``grads`` are [U, P]: everything of slot ``u`` lies in row ``u``, all A before
    all B, so an optimizer works on a person's row as a whole, from ``trained_from`` on.
    """

    def __init__(
        self, base: Base, config: LoraConfig, slots: int, *, dtype: torch.dtype | None = None
    ) -> None:
        self.config = config
        self.sites: tuple[Site, ...] = sites(base.model, config)
        size = sum(config.rank * (s.inputs + s.outputs) for s in self.sites)
        super().__init__(base, slots=slots, size=size, dtype=dtype, active=config.active)
        self.pairs: dict[str, tuple[Tensor, Tensor]] = self._views(self.weights)
        all_a = config.rank * sum(s.inputs for s in self.sites)
        self.trained_from = all_a if config.shared_a else 0

    def _views(self, buffer: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Per site the views (A [U, R, D], B [U, O, R]) of a [U, P] buffer."""
        rank = self.config.rank
        a_sizes = [rank * site.inputs for site in self.sites]
        b_sizes = [rank * site.outputs for site in self.sites]
        parts = buffer.split([*a_sizes, *b_sizes], dim=1)
        return {
            site.path: (a.view(-1, rank, site.inputs), b.view(-1, site.outputs, rank))
            for site, a, b in zip(
                self.sites, parts[: len(a_sizes)], parts[len(a_sizes) :], strict=True
            )
        }

    @torch.no_grad()
    def put(self, slot: int, adapter: Adapter) -> None:
        """Copy an adapter into a slot; raises as ``Adapter.check``."""
        adapter = require_lora(adapter.check(self.base, self.config))
        for path, (a, b) in self.pairs.items():
            theirs = adapter.pairs[path]
            a[slot].copy_(theirs[0])
            b[slot].copy_(theirs[1])

    def unpack(self, row: Tensor) -> LoraAdapter:
        """The adapter in a row [P] as this stack lays it out; shares the row's memory."""
        views = self._views(row[None])
        pairs = {path: (a[0], b[0]) for path, (a, b) in views.items()}
        return LoraAdapter(config=self.config, base=self.base.identity, pairs=pairs)

    @contextmanager
    def applied(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> Iterator[None]:
        """While inside, the base's forward adds to row ``i`` the adapter of slot ``rows[i]``.

        ``rows``: [B] long, -1 for the bare base. ``active``: as ``active`` gives it. The base's own
        weights are never touched.
        """
        kept = (rows >= 0).to(self.weights.dtype) * self.config.scale
        whose = Rows(rows.clamp_min(0), kept[:, None, None], active)
        with self._hooked(lambda pair, number: self._adder(pair, whose, number, dropout)):
            yield

    @contextmanager
    def applied_to_tokens(self, slots: Sequence[int], sizes: Sequence[int]) -> Iterator[None]:
        """While inside, the base's forward of tokens [1, N] adds to the first ``sizes[0]`` of them
        the adapter of slot ``slots[0]``, and so on; each slot comes once."""
        tokens = Tokens.of(slots, sizes, self.config.scale, self.weights)
        with self._hooked(lambda pair, _: self._token_adder(pair, tokens)):
            yield

    @contextmanager
    def _hooked(self, hook: Callable[[Pair, int], Hook]) -> Iterator[None]:
        """While inside, every site has the forward hook made of its pair and number."""
        grads = self._views(self.grads) if self.grads is not None else {}
        cast = self._views(self.weights.to(self.base.dtype))
        hooks: dict[str, Hook] = {}
        for number, site in enumerate(self.sites):
            grad_a, grad_b = grads.get(site.path, (None, None))
            pair = Pair(*cast[site.path], None if self.config.shared_a else grad_a, grad_b)
            hooks[site.path] = hook(pair, number)
        with forward_hooks(self.base.model, hooks):
            yield

    def _adder(self, pair: Pair, rows: Rows, number: int, dropout: Dropout | None) -> Hook:
        """A forward hook that adds each row's own ``scale * B A x`` to a module's output."""

        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0] if dropout is None else dropout(inputs[0], number)
            if not self._trains:
                return add_lora(output, x, pair, rows)
            return add_trained_lora(self._anchor, output, x, pair, rows)

        return add

    def _token_adder(self, pair: Pair, tokens: Tokens) -> Hook:
        """The same for tokens of a single row."""

        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x, out = inputs[0][0], output[0]
            if not self._trains:
                return add_lora_to_tokens(out, x, pair, tokens)[None]
            return add_trained_lora_to_tokens(self._anchor, out, x, pair, tokens)[None]

        return add
