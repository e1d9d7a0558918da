"""The engine's state in one file, written atomically, so that a killed run can resume.

One safetensors file; everything that is not a tensor is JSON in its header. A checkpoint of other
work (other people, examples, settings or base) is ignored. A damaged one is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from idiolect.adapters.kinds import kind_tag
from idiolect.adapters.protocol import AdapterConfig
from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import IntegrityError
from idiolect.storage.files import write_atomic
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

FORMAT = 4


@dataclass(frozen=True, slots=True)
class SavedSlotState:
    """One person's progress."""

    slot: int
    """The person's slot; -1 if finished."""
    job: int
    step: int
    """The next step."""
    tokens: int
    first_loss: float
    last_loss: float
    best: float | None
    """The lowest holdout loss so far."""
    worse: int
    """Epochs since the lowest holdout loss."""


@dataclass(slots=True)
class SlotState:
    """The progress of the person in one slot."""

    job_index: int
    """The person's place in the list of jobs."""
    batch_plan: tuple[tuple[int, ...], ...]
    """The example numbers of each step's batch."""
    step: int = 0
    """The next step: an index into ``batch_plan``."""
    tokens: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    best_loss: float | None = None
    """The lowest holdout loss so far; ``None`` before the first epoch ends."""
    epochs_without_improvement: int = 0

    @staticmethod
    def from_saved(saved: SavedSlotState, plan: tuple[tuple[int, ...], ...]) -> SlotState:
        """Return the progress that a checkpoint holds, with the person's batch plan."""
        return SlotState(
            job_index=saved.job,
            batch_plan=plan,
            step=saved.step,
            tokens=saved.tokens,
            first_loss=saved.first_loss,
            last_loss=saved.last_loss,
            best_loss=saved.best,
            epochs_without_improvement=saved.worse,
        )

    def to_saved(self, slot: int) -> SavedSlotState:
        """Return the form for a checkpoint; ``slot`` is -1 for a person who is finished."""
        return SavedSlotState(
            slot=slot,
            job=self.job_index,
            step=self.step,
            tokens=self.tokens,
            first_loss=self.first_loss,
            last_loss=self.last_loss,
            best=self.best_loss,
            worse=self.epochs_without_improvement,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The engine's whole state between two steps."""

    fingerprint: str
    slots: int
    forward_tokens: int
    """Tokens per forward, as chosen at the run's start; a resumed run uses the same."""
    next_job: int
    steps: int
    step_counts: tuple[int, ...]
    slot_states: tuple[SavedSlotState, ...]
    request_log: tuple[tuple[int, ...], ...]
    """The calls of ``ActivationCache.ensure_cached``, as numbers of examples over all jobs."""
    tensors: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically, with its SHA-256 digest in front."""
        # Names in the file differ from the fields: they are the format, which must not change.
        head = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "slots": self.slots,
            "forward_tokens": self.forward_tokens,
            "waiting": self.next_job,
            "steps": self.steps,
            "taken": self.step_counts,
            "seats": [asdict(s) for s in self.slot_states],
            "asked": self.request_log,
        }
        tensors = {name: t.contiguous() for name, t in self.tensors.items()}
        # The digest in front detects damage; safetensors alone would accept changed weights.
        body = save(tensors, metadata={"state": json.dumps(head)})
        write_atomic(path, hashlib.sha256(body).digest() + body)

    @staticmethod
    def load(path: Path, expected: str) -> Checkpoint | None:
        """Read a checkpoint; returns ``None`` if there is none, or if it is of other work.

        ``expected`` is the fingerprint of the work. Raises IntegrityError if the file is damaged.
        """
        if not path.is_file():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise IntegrityError(f"{path}: the checkpoint is damaged; delete it to start over")
        # safetensors: 8 bytes with the header's size, then the header as JSON, then the tensors.
        head_size = int.from_bytes(data[32:40], "little")
        head = json.loads(json.loads(data[40 : 40 + head_size])["__metadata__"]["state"])
        # A checkpoint of other work is not an error: training then starts from the beginning.
        if head["format"] != FORMAT or head["fingerprint"] != expected:
            return None
        return Checkpoint(
            fingerprint=head["fingerprint"],
            slots=head["slots"],
            forward_tokens=head["forward_tokens"],
            next_job=head["waiting"],
            steps=head["steps"],
            step_counts=tuple(head["taken"]),
            slot_states=tuple(SavedSlotState(**s) for s in head["seats"]),
            request_log=tuple(map(tuple, head["asked"])),
            tensors=load(data[32:]),
        )


def fingerprint_jobs(
    base: str,
    jobs: Sequence[TrainingJob],
    adapter_config: AdapterConfig,
    config: TrainConfig,
    kind: str = "adapters",
) -> str:
    """Return a hash (16 hex digits) of everything that decides the result of the training."""
    digest = hashlib.sha256()
    for job in jobs:
        digest.update(
            f"{job.person}\x00{len(job.examples)}\x00{len(job.holdout_examples)}\x00".encode()
        )
        # Each example's tokens and label, so that any change of data or prompts changes the hash.
        for example in (*job.examples, *job.holdout_examples):
            row = f"{example.answer_start}:{example.ids}:{example.label_counts}\x00"
            digest.update(row.encode())
        digest.update(
            job.initial_adapter.content_hash().encode() if job.initial_adapter else b"fresh"
        )
    adapters = {**kind_tag(adapter_config), **to_plain(adapter_config)}
    settings = [kind, adapters, to_plain(config)]
    return compute_fingerprint([FORMAT, base, settings, digest.hexdigest()])
