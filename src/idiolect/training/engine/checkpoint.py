"""The engine's state in one file, written atomically: what a killed run goes on from.

One safetensors file; everything that is not a tensor is JSON in its header. A checkpoint of other
work (other people, examples, settings or base) is ignored, a broken one refused.
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
    """One person's place: their slot (-1 when done), job number, next step, and figures so far."""

    slot: int
    job: int
    step: int
    tokens: int
    first_loss: float
    last_loss: float
    best: float | None
    """The lowest loss on the tail so far."""
    worse: int
    """Epochs since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The engine's whole state between two steps."""

    fingerprint: str
    slots: int
    forward_tokens: int
    """As found for the machine at the run's start: a resumed one takes the same."""
    next_job: int
    steps: int
    step_counts: tuple[int, ...]
    slot_states: tuple[SavedSlotState, ...]
    request_log: tuple[tuple[int, ...], ...]
    """The examples of every call of ``Frozen.prepare``, by their numbers in all jobs."""
    tensors: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write it, atomically."""
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
        body = save(tensors, metadata={"state": json.dumps(head)})
        write_atomic(path, hashlib.sha256(body).digest() + body)

    @staticmethod
    def load(path: Path, expected: str) -> Checkpoint | None:
        """Read it; ``None`` where there is none or it is of other work.

        Raises IntegrityError for a damaged file: deleting it starts that work again.
        """
        if not path.is_file():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise IntegrityError(f"{path}: the checkpoint is damaged; delete it to start over")
        head_size = int.from_bytes(data[32:40], "little")
        head = json.loads(json.loads(data[40 : 40 + head_size])["__metadata__"]["state"])
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
    """A hash of everything that decides what will come out, of that kind (16 hex digits)."""
    digest = hashlib.sha256()
    for job in jobs:
        digest.update(
            f"{job.person}\x00{len(job.examples)}\x00{len(job.holdout_examples)}\x00".encode()
        )
        for example in (*job.examples, *job.holdout_examples):
            row = f"{example.answer_start}:{example.ids}:{example.label_counts}\x00"
            digest.update(row.encode())
        digest.update(
            job.initial_adapter.content_hash().encode() if job.initial_adapter else b"fresh"
        )
    adapters = {**kind_tag(adapter_config), **to_plain(adapter_config)}
    settings = [kind, adapters, to_plain(config)]
    return compute_fingerprint([FORMAT, base, settings, digest.hexdigest()])
