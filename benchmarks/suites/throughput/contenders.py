"""Who takes part: the peers and our rows, and which process runs each."""

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
    """Only on these tasks or shapes; empty for all."""
    people: int = 0
    """Trains the first so many people only, as peers do; 0 for all."""

    @property
    def process_name(self) -> str:
        """Whose process runs it: peers change the base, our rows share one."""
        return self.name if self.kind == "peer" else "ours"

    def runs_on(self, task: str) -> bool:
        """Whether it runs on a task."""
        return not self.tasks or task in self.tasks


def list_contenders(mlora: str | None) -> tuple[Contender, ...]:
    """Everybody; peer C where the Python of an environment with mLoRA is given."""
    out = [
        Contender(
            name=PEER_A,
            what="the loop of the OPPU release (PEFT, `Trainer` per person, fp32 base under "
            "autocast, recomputation, padding to multiples of 8), its faults removed",
            kind="peer",
        ),
        Contender(
            name=PEER_B,
            what="a careful PEFT + `Trainer` loop of today: bf16 base loaded once, fp32 adapters, "
            "autocast, no recomputation, batches by length, no saving or logging",
            kind="peer",
        ),
    ]
    if mlora:
        out.append(
            Contender(
                name=PEER_C,
                what="mLoRA 0.5.2 on torch 2.3: its model and adapters, all people in one forward",
                kind="peer",
                python=mlora,
                module="suites.throughput.mlora_peer",
                tasks=("rating",),
            )
        )
    out += [
        Contender(name=r.name, what=r.what, kind=r.kind, tasks=r.tasks, people=r.people)
        for r in ENGINE_ROWS
    ]
    return tuple(out)


def order_methods(names: Sequence[str], repetition: int) -> tuple[str, ...]:
    """The order of a repetition: turned by one each time, every second one backwards."""
    at = repetition % len(names)
    turned = (*names[at:], *names[:at])
    return turned[::-1] if repetition % 2 else turned
