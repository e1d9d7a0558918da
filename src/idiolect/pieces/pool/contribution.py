"""One sharer's contribution to a pool, and the checks it must pass.

This module writes no files; the pool writes contributions that pass.

Shapes: ``S`` sharers, ``D`` input width of a module.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.targets.linear import TargetModule
from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.pieces.pool.segment import PSEUDONYM, to_storage


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """One sharer's adapter and gates, to be added to a pool."""

    sharer: str
    """The sharer's pseudonym in this pool; see ``make_pseudonym``."""
    adapter: LoraAdapter
    gates: Mapping[str, Tensor]
    """The trained gate [D] of each shared module."""
    sites: tuple[str, ...]
    """Paths of the shared modules; see ``choose_shared_modules``."""
    about: Mapping[str, float] = field(default_factory=dict)
    """Numbers for the sharer's record: steps, items, leakage. No text. The pool keeps them
    rounded; see ``round_figures``."""


def make_pseudonym() -> str:
    """Return a new random pseudonym. Only the ledger of the sharer's own store links it to a
    person."""
    return secrets.token_hex(8)


def choose_shared_modules(
    seed: int, sharer: str, paths: Sequence[str], ratio: float
) -> tuple[str, ...]:
    """Draw the modules whose pieces a sharer shares: ``ratio`` of all modules, rounded up, in
    their order.

    The draw is fixed by (seed, sharer). The modules of a smaller ratio are a subset of those of a
    larger one, so sharing again reveals nothing more. Raises UsageError if the ratio is not in
    (0, 1].
    """
    if not 0 < ratio <= 1:
        raise UsageError(f"sharing ratio: must be above 0 and at most 1, got {ratio}")
    generator = torch.Generator().manual_seed(derive_seed(seed, sharer, "sharing ratio"))
    # A fixed permutation per sharer: a prefix of it is the shared set, so ratios nest.
    order = torch.randperm(len(paths), generator=generator).tolist()
    # The tolerance absorbs float error: 0.1 of 30 modules must be 3, not 4.
    count = math.ceil(ratio * len(paths) - 1e-9)
    kept = set(order[:count])
    return tuple(path for n, path in enumerate(paths) if n in kept)


def round_figures(about: Mapping[str, float]) -> dict[str, float]:
    """Return a sharer's numbers as a pool keeps them, so that they do not identify the person.

    Whole numbers are rounded to 1, 2 or 5 times a power of ten, others to two significant digits.
    """
    return {
        name: _round_count(value) if isinstance(value, int) else float(f"{value:.2g}")
        for name, value in about.items()
    }


def _round_count(count: int) -> int:
    """Return the nearest of 0, 1, 2, 5, 10, 20, 50 and so on, with the sign of ``count``; the
    larger one if two are as near."""
    power = 10 ** max(0, len(str(abs(count))) - 1)
    steps = [step * power for step in (0, 1, 2, 5, 10)]
    nearest = min(steps, key=lambda step: (abs(abs(count) - step), -step))
    return int(math.copysign(nearest, count))


def check_contribution(entry: Contribution, modules: Sequence[TargetModule], *, where: str) -> None:
    """Check a contribution against the modules of a pool.

    Raises UsageError for an invalid pseudonym, a value that is not a finite number, or a module
    that is not in the pool; MismatchError for an adapter of other modules.
    """
    if not PSEUDONYM.fullmatch(entry.sharer):
        raise UsageError(
            f"{where}: {entry.sharer!r} is not a pseudonym; create one with make_pseudonym()"
        )
    # Only identifiers and finite numbers, so that no text about a person gets into a pool.
    for name, number in entry.about.items():
        is_number = isinstance(number, (int, float)) and math.isfinite(number)
        if not (is_number and name.isidentifier()):
            raise UsageError(
                f"{where}: {name!r} of a sharer is {number!r}; a record takes only finite numbers"
            )
    if not entry.sites or set(entry.sites) - {module.path for module in modules}:
        raise UsageError(
            f"{where}: a sharer shares {entry.sites!r}; these must be modules of the pool"
        )
    entry.adapter.check_target_modules(modules)


def stack_gates(
    entries: Sequence[Contribution], modules: Sequence[TargetModule]
) -> dict[str, Tensor]:
    """Return per module LN(g) [S, D] of the entries (fp16); rows of modules that are not shared
    are zero.

    Raises UsageError if a gate is missing or has the wrong width, IntegrityError if a gate is flat
    or not finite.
    """
    out: dict[str, Tensor] = {}
    for module in modules:
        # Modules that a sharer does not share keep a zero row.
        out[module.path] = torch.zeros(len(entries), module.inputs, dtype=torch.float16)
        for row, entry in enumerate(entries):
            if module.path in entry.sites:
                where = f"sharer {entry.sharer}, {module.path}"
                gate = entry.gates.get(module.path)
                if gate is None or gate.shape != (module.inputs,):
                    raise UsageError(f"{where}: expected a gate of {module.inputs} numbers")
                out[module.path][row] = to_storage(gate, where=where)
    return out
