"""What one sharer gives to a pool, and whether it is something a pool takes.

Knows no folder: the pool writes what is good.

Shapes: ``S`` sharers, ``D`` width of a module's input.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, TargetModule
from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.pieces.pool.segment import PSEUDONYM, to_storage


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one sharer gives to a pool."""

    sharer: str
    """A pseudonym of this pool, see ``pseudonym``."""
    adapter: LoraAdapter
    gates: Mapping[str, Tensor]
    """The trained gate [D] of every shared site."""
    sites: tuple[str, ...]
    """Paths of the shared sites, see ``share_sites``."""
    about: Mapping[str, float] = field(default_factory=dict)
    """Numbers about it: steps, items, what leaks. No text."""


def make_pseudonym() -> str:
    """A new random name for a sharer; whose it is, only the sharers' own store knows."""
    return secrets.token_hex(8)


def choose_shared_sites(
    seed: int, sharer: str, paths: Sequence[str], ratio: float
) -> tuple[str, ...]:
    """The fixed share of a sharer's sites that is given away, rounded up, in the sites' order.

    A smaller ratio's sites are among a larger one's, so that sharing again gives nothing more away.
    Raises UsageError for a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise UsageError(f"sharing ratio: must be above 0 and at most 1, got {ratio}")
    generator = torch.Generator().manual_seed(derive_seed(seed, sharer, "sharing ratio"))
    order = torch.randperm(len(paths), generator=generator).tolist()
    count = math.ceil(ratio * len(paths) - 1e-9)  # 0.1 of 30 are 3, whatever floats say
    kept = set(order[:count])
    return tuple(path for n, path in enumerate(paths) if n in kept)


def check_contribution(entry: Contribution, modules: Sequence[TargetModule], *, where: str) -> None:
    """Raise UsageError for what is no pseudonym, no number, or no site of the pool; MismatchError
    for an adapter of other modules."""
    if not PSEUDONYM.fullmatch(entry.sharer):
        raise UsageError(f"{where}: {entry.sharer!r} is no pseudonym; take pieces.pseudonym()")
    for name, number in entry.about.items():
        is_number = isinstance(number, (int, float)) and math.isfinite(number)
        if not (is_number and name.isidentifier()):
            raise UsageError(
                f"{where}: {name!r} of a sharer is {number!r}; only finite numbers go in"
            )
    if not entry.sites or set(entry.sites) - {site.path for site in modules}:
        raise UsageError(f"{where}: a sharer shares {entry.sites!r}; name sites of the pool")
    entry.adapter.check_target_modules(modules)


def stack_gates(
    entries: Sequence[Contribution], modules: Sequence[TargetModule]
) -> dict[str, Tensor]:
    """Per site LN(g) [S, D] of the entries (fp16), zeros where it is not shared.

    Raises UsageError for a gate that is missing or of another width, IntegrityError for one that
    chooses nobody.
    """
    out: dict[str, Tensor] = {}
    for site in modules:
        out[site.path] = torch.zeros(len(entries), site.inputs, dtype=torch.float16)
        for row, entry in enumerate(entries):
            if site.path in entry.sites:
                where = f"sharer {entry.sharer}, {site.path}"
                gate = entry.gates.get(site.path)
                if gate is None or gate.shape != (site.inputs,):
                    raise UsageError(f"{where}: needs a gate of {site.inputs} numbers")
                out[site.path][row] = to_storage(gate, where=where)
    return out
