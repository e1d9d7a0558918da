"""The methods in the comparison, and the process that runs each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suites.throughput.ours import ENGINE_ROWS

PEER_A, PEER_B, PEER_C = "peer-a", "peer-b", "peer-c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A method in the comparison."""

    name: str
    what: str
    kind: Literal["peer", "exact", "measured"]
    python: str = sys.executable
    module: str = "suites.throughput.worker"
    tasks: tuple[str, ...] = ()
    """Runs only on these tasks or shapes; empty for all."""
    people: int = 0
    """Trains only the first ``people`` people, as peers do; 0 for all."""

    @property
    def process_name(self) -> str:
        """The process that runs it: each peer changes its base, so it has its own."""
        return self.name if self.kind == "peer" else "ours"

    def runs_on(self, task: str) -> bool:
        """Return whether the method runs on a task."""
        return not self.tasks or task in self.tasks


def list_contenders(mlora: str | None) -> tuple[Contender, ...]:
    """Return all methods; peer C only if ``mlora``, the Python of its environment, is given."""
    # Two peers with PEFT, which run everywhere.
    out = [
        Contender(
            name=PEER_A,
            what="the training loop of the OPPU release without its faults (PEFT, one `Trainer` "
            "per person, fp32 base under autocast, recomputation, padding to multiples of 8)",
            kind="peer",
        ),
        Contender(
            name=PEER_B,
            what="a careful current PEFT + `Trainer` loop: bf16 base loaded once, fp32 adapters, "
            "autocast, no recomputation, batches of similar length, no saving or logging",
            kind="peer",
        ),
    ]
    # mLoRA needs its own environment, and runs on one task to save time.
    if mlora:
        out.append(
            Contender(
                name=PEER_C,
                what="mLoRA 0.5.2 on torch 2.3: its model and adapters, all people in one "
                "forward pass",
                kind="peer",
                python=mlora,
                module="suites.throughput.mlora_peer",
                tasks=("rating",),
            )
        )
    # Our engine, one contender per row.
    out += [
        Contender(name=r.name, what=r.what, kind=r.kind, tasks=r.tasks, people=r.people)
        for r in ENGINE_ROWS
    ]
    return tuple(out)


def order_methods(names: Sequence[str], repetition: int) -> tuple[str, ...]:
    """Return the order of a repetition: rotated by one each time, every second one reversed."""
    at = repetition % len(names)
    turned = (*names[at:], *names[:at])
    return turned[::-1] if repetition % 2 else turned
