"""What unlearning trains: a new LoRA, or a copy of all weights; and the losses of the model with
it.

The given base is never modified: a LoRA is added through hooks, and full weights are trained in a
copy. Nothing is written to disk.

Shapes: ``B`` examples, ``T`` positions, ``N`` target tokens of all examples,
``D`` hidden size, ``V`` vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from idiolect.adapters.hooks import ActiveLora, activate_loras, build_token_mask
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.adapters.row_groups import RowGrouper
from idiolect.errors import UsageError
from idiolect.inference.nll import compute_target_logits, compute_target_nll, nll_from_hidden
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder
from idiolect.prompts.batch import Batch, collate
from idiolect.prompts.render import Example

FORWARD_TOKENS = 1024
"""Token budget of one forward; on CPUs its activations then fit into the caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDelta:
    """The difference of all weights of a base, by parameter name."""

    base: str
    """Identity of the base that the delta was trained on."""
    tensors: Mapping[str, Tensor]


Delta = LoraAdapter | WeightDelta


class TrainableModel(Protocol):
    """The trainable weights, and contexts for the model before training and with them."""

    @property
    def trainable_weights(self) -> Sequence[Tensor]:
        """The tensors that the optimizer updates."""
        ...

    @property
    def trains_head(self) -> bool:
        """Whether the output head is trained."""
        ...

    def use_initial_model(self, examples: Sequence[Example]) -> Any:
        """Return a context manager that yields the model before training."""
        ...

    def use_current_model(self, examples: Sequence[Example]) -> Any:
        """Return a context manager that yields the model with the weights in training."""
        ...

    def export_delta(self) -> Delta:
        """Return the current delta on the CPU."""
        ...


class LoraModel:
    """A new LoRA on a base, or on top of a person's frozen adapter."""

    trains_head = False

    def __init__(
        self, base: Base, personal: LoraAdapter | None, config: LoraConfig, *, seed: int
    ) -> None:
        config = config.resolve_for(base.model)
        for used in (config, *([personal.config] if personal is not None else ())):
            RowGrouper.for_adapters(base, used)  # raises if this base cannot run them
        self.base, self.personal, self.config = base, personal, config
        start = init_lora(base, config, seed=seed, person="unlearning")
        self.pairs = {
            path: (_make_leaf(a, base), _make_leaf(b, base)) for path, (a, b) in start.pairs.items()
        }
        # The personal adapter is not trained, so its tensors need no copy.
        self._frozen = {} if personal is None else _move_to_device(base, personal)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """All B matrices, and all A matrices unless A is shared."""
        shared = self.config.shared_a
        return [t for a, b in self.pairs.values() for t in ((b,) if shared else (a, b))]

    @contextmanager
    def use_initial_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """Yield the base with the person's adapter, if there is one."""
        with activate_loras(self.base.model, self._list_initial(examples)):
            yield self.base.model

    def _list_initial(self, examples: Sequence[Example]) -> list[ActiveLora]:
        if self.personal is None:
            return []
        personal = self.personal.config
        active = build_token_mask(self.base, personal, examples)
        return [ActiveLora(self._frozen, personal.scale, active)]

    @contextmanager
    def use_current_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """Yield the initial model plus the LoRA in training."""
        active = build_token_mask(self.base, self.config, examples)
        trained = ActiveLora(self.pairs, self.config.scale, active)
        with activate_loras(self.base.model, [*self._list_initial(examples), trained]):
            yield self.base.model

    def export_delta(self) -> LoraAdapter:
        """Return the LoRA."""
        pairs = {p: (a.detach().cpu(), b.detach().cpu()) for p, (a, b) in self.pairs.items()}
        return LoraAdapter(config=self.config, base=self.base.identity, pairs=pairs)


class FullModel:
    """All weights of a base, trained in a copy of its model. The delta is copy minus base."""

    trains_head = True

    def __init__(self, base: Base) -> None:
        if base.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"parameters 'full': the base is loaded in {base.dtype}, which is too coarse for "
                "training; set dtype to float32"
            )
        self.base = base
        self.model = copy.deepcopy(base.model).requires_grad_(True)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """Each parameter once, also if modules share it."""
        return list(self.model.parameters())

    @contextmanager
    def use_initial_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """Yield the base's model."""
        yield self.base.model

    @contextmanager
    def use_current_model(self, examples: Sequence[Example]) -> Iterator[Any]:
        """Yield the copy in training."""
        yield self.model

    def export_delta(self) -> WeightDelta:
        """Return copy minus base for each parameter."""
        old = dict(self.base.model.named_parameters())
        moved = {n: (t.detach() - old[n]).cpu() for n, t in self.model.named_parameters()}
        return WeightDelta(base=self.base.identity, tensors=moved)


class ModelLosses:
    """Implements ``LossModel`` for a trainable model."""

    def __init__(self, base: Base, trainee: TrainableModel) -> None:
        self.base, self.trainable = base, trainee
        # All examples run in the same model, so all may share a forward.
        self.grouper = RowGrouper.for_adapters(base, None)

    def compute_nll(self, examples: Sequence[Example]) -> Tensor:
        """Mean negative log-likelihood per target token of each example [B], in nats."""
        return self._average_per_example(examples, self._forward_nll)

    @torch.no_grad()
    def compute_initial_nll(self, examples: Sequence[Example]) -> Tensor:
        """The same for the model before training [B]; no gradient."""
        return self._average_per_example(examples, self._forward_initial_nll)

    def compute_kl(self, examples: Sequence[Example]) -> Tensor:
        """Mean KL(before || now) per target token of each example [B], in nats."""
        return self._average_per_example(examples, self._forward_kl)

    def _average_per_example(
        self, examples: Sequence[Example], values: Callable[[Sequence[Example], Batch], Tensor]
    ) -> Tensor:
        """Mean of each example's per-token values [B]. Examples of similar length share a
        forward."""
        found: list[Tensor] = []
        order: list[int] = []
        lengths = [len(e.ids) for e in examples]
        for parcel in self.grouper.iter_groups([0] * len(examples), lengths, FORWARD_TOKENS):
            some = [examples[i] for i in parcel]
            batch = collate(some, pad=self.base.pad_token_id, device=self.base.device)
            found.append(_average_by_row(values(some, batch), batch, len(some)))
            order += parcel
        # Batches are grouped by length; restore the order of the examples.
        positions_B = torch.tensor(order, device=self.base.device).argsort()
        return torch.cat(found)[positions_B]

    def _forward_nll(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with self.trainable.use_current_model(examples) as model:
            if self.trainable.trains_head:
                return compute_target_nll(model, batch)
            # With a frozen head the logits of all positions need not be kept for the backward.
            decoder = find_decoder(model)
            hidden_BTD = decoder(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
            return nll_from_hidden(model, hidden_BTD[batch.row, batch.position], batch.label)

    def _forward_initial_nll(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with self.trainable.use_initial_model(examples) as model:
            return compute_target_nll(model, batch)

    def _forward_kl(self, examples: Sequence[Example], batch: Batch) -> Tensor:
        with torch.no_grad(), self.trainable.use_initial_model(examples) as model:
            old_NV = _compute_log_probs(compute_target_logits(model, batch))
        with self.trainable.use_current_model(examples) as model:
            new_NV = _compute_log_probs(compute_target_logits(model, batch))
        return (old_NV.exp() * (old_NV - new_NV)).sum(-1)


def _average_by_row(values_N: Tensor, batch: Batch, rows: int) -> Tensor:
    """Average values of all target tokens [N] over each example's own tokens [B]."""
    total_B = values_N.new_zeros(rows).index_add(0, batch.row, values_N)
    return total_B / torch.bincount(batch.row, minlength=rows)


def _compute_log_probs(logits_NV: Tensor) -> Tensor:
    # At least float32: a half-precision softmax over the vocabulary loses small probabilities.
    wide = torch.float64 if logits_NV.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits_NV, dim=-1, dtype=wide)


def _make_leaf(tensor: Tensor, base: Base) -> Tensor:
    return tensor.to(base.device, copy=True).requires_grad_()


def _move_to_device(base: Base, adapter: LoraAdapter) -> dict[str, tuple[Tensor, Tensor]]:
    return {path: (a.to(base.device), b.to(base.device)) for path, (a, b) in adapter.pairs.items()}
