"""What training changes, while it does: a fresh LoRA, or a copy of all weights.

The base that it is given is never written to: a LoRA stands beside it, full weights are trained in
a copy. Nothing of it touches the disk. Shapes: ``B`` examples, ``N`` target tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from idiolect.adapters.hooks import activate_lora, build_token_mask
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.errors import UsageError
from idiolect.inference.nll import compute_target_logits, compute_target_nll, nll_from_hidden
from idiolect.models.base import Base
from idiolect.prompts.batch import Batch, batches_within_token_budget, collate
from idiolect.prompts.render import Example

FORWARD_TOKENS = 1024
"""Tokens of a forward: on CPUs its activations then stay in the caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDelta:
    """The difference of all of a base's weights, by their names in the model."""

    base: str
    """The identity of the base it was made on."""
    tensors: Mapping[str, Tensor]


Delta = LoraAdapter | WeightDelta


class TrainableModel(Protocol):
    """What is trained, and the model before and with it."""

    @property
    def trainable_weights(self) -> Sequence[Tensor]:
        """What the optimizer changes."""
        ...

    @property
    def trains_head(self) -> bool:
        """Whether the output head is among it."""
        ...

    def use_initial_model(self, examples: Sequence[Example]) -> Any:
        """A context in which the model is the one that training began with; gives it."""
        ...

    def use_current_model(self, examples: Sequence[Example]) -> Any:
        """A context in which the model is the one in training; gives it."""
        ...

    def export_delta(self) -> Delta:
        """What was trained so far, on the CPU."""
        ...


class LoraModel:
    """A fresh LoRA on a base, or beside a person's frozen adapter on it."""

    trains_head = False

    def __init__(
        self, base: Base, personal: LoraAdapter | None, config: LoraConfig, *, seed: int
    ) -> None:
        self.base, self.personal, self.config = base, personal, config
        start = init_lora(base, config, seed=seed, person="unlearning")
        self.pairs = {
            path: (_make_leaf(a, base), _make_leaf(b, base)) for path, (a, b) in start.pairs.items()
        }
        self._frozen = {} if personal is None else _move_to_device(base, personal)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """All B, and all A unless those are shared."""
        shared = self.config.shared_a
        return [t for a, b in self.pairs.values() for t in ((b,) if shared else (a, b))]

    @contextmanager
    def use_initial_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """The base, with the person's adapter where there is one."""
        with ExitStack() as stack:
            if self.personal is not None:
                theirs = self.personal.config
                active = build_token_mask(self.base, theirs, examples)
                stack.enter_context(
                    activate_lora(self.base.model, self._frozen, theirs.scale, active)
                )
            yield self.base.model

    @contextmanager
    def use_current_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """The same and the LoRA in training."""
        active = build_token_mask(self.base, self.config, examples)
        with (
            self.use_initial_model(examples) as model,
            activate_lora(model, self.pairs, self.config.scale, active),
        ):
            yield model

    def export_delta(self) -> LoraAdapter:
        """The LoRA."""
        pairs = {p: (a.detach().cpu(), b.detach().cpu()) for p, (a, b) in self.pairs.items()}
        return LoraAdapter(config=self.config, base=self.base.identity, pairs=pairs)


class FullModel:
    """All weights of a base, in a copy of its model; its difference is the delta."""

    trains_head = True

    def __init__(self, base: Base) -> None:
        if base.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"parameters 'full': the base is loaded in {base.dtype}, too coarse to be trained; "
                "set dtype to float32"
            )
        self.base = base
        self.model = copy.deepcopy(base.model).requires_grad_(True)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """Every parameter once, also one that stands in two places."""
        return list(self.model.parameters())

    @contextmanager
    def use_initial_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """The base."""
        yield self.base.model

    @contextmanager
    def use_current_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """The copy."""
        yield self.model

    def export_delta(self) -> WeightDelta:
        """Copy minus base, weight by weight."""
        old = dict(self.base.model.named_parameters())
        moved = {n: (t.detach() - old[n]).cpu() for n, t in self.model.named_parameters()}
        return WeightDelta(base=self.base.identity, tensors=moved)


class ModelLosses:
    """The ``Model`` that methods see, of a trainee."""

    def __init__(self, base: Base, trainee: TrainableModel) -> None:
        self.base, self.trainable = base, trainee

    def compute_nll(self, examples: Sequence[Example]) -> Tensor:
        """Each example's mean negative log likelihood a target token [B], nats."""
        return self._average_per_example(examples, self._forward_nll)

    @torch.no_grad()
    def compute_initial_nll(self, examples: Sequence[Example]) -> Tensor:
        """The same of the model that training began with [B]; no gradient."""
        return self._average_per_example(examples, self._forward_initial_nll)

    def compute_kl(self, examples: Sequence[Example]) -> Tensor:
        """Each example's mean KL(before || now) a target token [B], nats."""
        return self._average_per_example(examples, self._forward_kl)

    def _average_per_example(
        self, examples: Sequence[Example], values: Callable[[Sequence[Example], Batch], Tensor]
    ) -> Tensor:
        """The mean of each example's values [B]; rows of like length share a forward."""
        found: list[Tensor] = []
        order: list[int] = []
        for parcel in batches_within_token_budget([len(e.ids) for e in examples], FORWARD_TOKENS):
            some = [examples[i] for i in parcel]
            batch = collate(some, pad=self.base.pad_token_id, device=self.base.device)
            found.append(_average_by_row(values(some, batch), batch, len(some)))
            order += parcel
        places = torch.tensor(order, device=self.base.device).argsort()
        return torch.cat(found)[places]

    def _forward_nll(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with self.trainable.use_current_model(examples) as model:
            if self.trainable.trains_head:
                return compute_target_nll(model, batch)
            decoder = model.get_decoder()
            hidden = decoder(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
            return nll_from_hidden(model, hidden[batch.row, batch.position], batch.label)

    def _forward_initial_nll(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with self.trainable.use_initial_model(examples) as model:
            return compute_target_nll(model, batch)

    def _forward_kl(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with torch.no_grad(), self.trainable.use_initial_model(examples) as model:
            old = _compute_log_probs(compute_target_logits(model, batch))
        with self.trainable.use_current_model(examples) as model:
            new = _compute_log_probs(compute_target_logits(model, batch))
        return (old.exp() * (old - new)).sum(-1)


def _average_by_row(values: Tensor, batch: Batch, rows: int) -> Tensor:
    """The mean over each example's own target tokens [B] of values of all of them [N]."""
    total = values.new_zeros(rows).index_add(0, batch.row, values)
    return total / torch.bincount(batch.row, minlength=rows)


def _compute_log_probs(logits: Tensor) -> Tensor:
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits, dim=-1, dtype=wide)


def _make_leaf(tensor: Tensor, base: Base) -> Tensor:
    return tensor.to(base.device, copy=True).requires_grad_()


def _move_to_device(base: Base, adapter: LoraAdapter) -> dict[str, tuple[Tensor, Tensor]]:
    return {path: (a.to(base.device), b.to(base.device)) for path, (a, b) in adapter.pairs.items()}
