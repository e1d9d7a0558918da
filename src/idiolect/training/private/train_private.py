"""Private training of many people, one after the other: all records of a person run together.

Each record gets a slot of its own in a stack that holds the same adapter in all slots, so the
engine's backward leaves the gradients of the records apart. ``reference.py`` is the readable
version; a test compares the two.

There is no checkpoint: a killed run has released nothing, and the next run draws new noise.

Shapes: ``n`` records, ``U`` slots (records at once), ``K`` directions, ``P`` numbers of all B.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from idiolect.adapters.arithmetic.directions import AdapterBasis, flatten_b
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.row_groups import require_trainable_targets
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.errors import UsageError
from idiolect.events import Listener, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.compiled_ops import compile_elementwise
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import MIN_FORWARD_TOKENS, EngineConfig
from idiolect.training.engine.gradients import StepRunner
from idiolect.training.engine.memory_plan import make_activation_cache
from idiolect.training.engine.padded_layout import BatchRow
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.private.accounting import compute_multiplier
from idiolect.training.private.config import PrivateConfig
from idiolect.training.private.noise import DrawNoise, draw_secure_noise

_MAX_SLOTS = 64
"""Records whose gradients are held at once: 0.5 GB at rank 8 on the default base."""


def train_private(
    base: Base,
    jobs: Sequence[TrainingJob],
    basis: AdapterBasis,
    config: PrivateConfig,
    engine: EngineConfig | None = None,
    *,
    draw_noise: DrawNoise = draw_secure_noise,
    listener: Listener = null_listener,
    stage: str = "train",
) -> tuple[TrainingResult[Adapter], ...]:
    """Train one adapter per job with record-level differential privacy, from the basis's mean.

    The results have no losses: they would reveal something about the records. Only tests pass
    ``draw_noise``; noise that can be computed again protects no one. Raises UsageError if a history
    is too long for ``config.delta``.
    """
    # Check all people before any budget is spent.
    for job in jobs:
        if config.delta * 10 * len(job.examples) > 1:
            raise UsageError(
                f"person {job.person!r}: delta {config.delta:g} is too large for "
                f"{len(job.examples)} records; set private.delta to at most 1 / (10 * records)"
            )
    require_trainable_targets(base, basis.mean.config)
    engine = engine or EngineConfig()
    engine = replace(engine, forward_tokens=engine.forward_tokens or MIN_FORWARD_TOKENS)
    multiplier = compute_multiplier(config.epsilon, config.delta, config.steps)
    out: list[TrainingResult[Adapter]] = []
    with (
        prepack_base(base) if engine.pack else nullcontext(),
        compile_elementwise(base.model) if engine.compile else nullcontext(),
        keep_freed_memory(),
    ):
        # One stack and one cache of prompts serve all people in turn.
        gradients = RecordGradients(base, basis, engine, jobs)
        listener(Progress(stage=stage, done=0, total=len(jobs), unit="people"))
        for job in jobs:
            z_K = _descend(gradients, job, config, multiplier, draw_noise)
            tokens = config.steps * sum(len(example.ids) for example in job.examples)
            out.append(
                TrainingResult(
                    person=job.person,
                    adapter=basis.move_to(z_K),
                    steps=config.steps,
                    tokens=tokens,
                    first_loss=0.0,
                    last_loss=0.0,
                )
            )
            listener(Progress(stage=stage, done=len(out), total=len(jobs), unit="people"))
    return tuple(out)


def _descend(
    gradients: RecordGradients,
    job: TrainingJob,
    config: PrivateConfig,
    multiplier: float,
    draw_noise: DrawNoise,
) -> Tensor:
    """Return the coordinates [K] after all steps."""
    count = gradients.basis.count
    z_K = torch.zeros(count, dtype=torch.float64)
    rate = config.compute_rate(len(job.examples))
    for _ in range(config.steps):
        records_nK = gradients.compute_gradients(z_K, job.examples)
        total_K = clip_rows(records_nK, config.clip).sum(dim=0)
        noisy_K = total_K + draw_noise(count, multiplier * config.clip)
        z_K = z_K - rate * (noisy_K + config.prior * z_K)
    return z_K


def clip_rows(grads_UK: Tensor, clip: float) -> Tensor:
    """Return the gradients with each row shortened to the norm ``clip`` if it is longer.

    A row that is not finite becomes zero, as in ``reference.clip_norm``.
    """
    finite_U1 = torch.isfinite(grads_UK).all(dim=1, keepdim=True)
    grads_UK = torch.where(finite_U1, grads_UK, 0.0)
    norms_U1 = torch.linalg.vector_norm(grads_UK, dim=1, keepdim=True)
    return grads_UK * (clip / norms_U1.clamp_min(1e-300)).clamp_max(1.0)


class RecordGradients:
    """The gradients of single records along the directions of a basis."""

    def __init__(
        self,
        base: Base,
        basis: AdapterBasis,
        engine: EngineConfig,
        jobs: Sequence[TrainingJob],
    ) -> None:
        self.basis = basis
        self.directions_KP = basis.directions.to(base.device)
        config = basis.mean.config
        self.stack = LoraStack(base, config, _MAX_SLOTS).train()
        for slot in range(_MAX_SLOTS):
            self.stack.load_slot(slot, basis.mean)
        # Rows are padded, so that each record keeps the slot of its own.
        self.runner = StepRunner(
            base,
            self.stack,
            config,
            forward_tokens=engine.forward_tokens,
            share=False,
            cache=make_activation_cache(base, config, engine, jobs),
        )

    def compute_gradients(self, z_K: Tensor, examples: Sequence[Example]) -> Tensor:
        """Return the gradient of each example's mean loss at these coordinates [n, K], in fp64."""
        stack = self.stack
        assert stack.grads is not None
        # B follows all A in a row of the stack, module by module, as in ``flatten_b``.
        b_columns = slice(stack.trainable_offset, None)
        stack.weights[:, b_columns] = flatten_b(self.basis.move_to(z_K)).to(stack.weights)
        out: list[Tensor] = []
        for start in range(0, len(examples), _MAX_SLOTS):
            group = examples[start : start + _MAX_SLOTS]
            self.runner.forward_backward([BatchRow(n, e, 0) for n, e in enumerate(group)])
            grads_UP = stack.grads[: len(group), b_columns]
            out.append((grads_UP @ self.directions_KP.T.to(grads_UP)).cpu().double())
        return torch.cat(out)
