"""What shared pieces give away: three artifacts of each sharer, audited before anything is shared.

``adapter`` is the whole adapter, which stays in its store and is measured to compare; ``pieces`` is
what of it would lie in the pool; ``assembled`` is the adapter that a newcomer just like the sharer
would get. The last two decide. Figures go into the pool as plain numbers, and into a report beside
the store's ledger under the pool's pseudonyms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.membership import LeakageConfig, MembershipResult, audit_membership
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.pool.preview import PoolPreview
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.sharing.candidates import Candidate
from idiolect.storage.files import write_json

SHARED_ARTIFACTS = ("pieces", "assembled")
"""The artifacts that others get."""
ARTIFACTS = ("adapter", *SHARED_ARTIFACTS)
TARGET_USER_ITEMS = 16
"""Items that the newcomer of the audit brings: pieces are chosen by means over items, which move
little after so many."""

Findings = dict[str, dict[str, MembershipResult]]
"""By artifact, then by person."""


def audit_pieces(
    base: Base,
    candidates: Sequence[Candidate],
    sites: Mapping[str, Sequence[str]],
    config: LeakageConfig,
    *,
    forward_tokens: int,
) -> Findings:
    """What everyone's whole adapter gives away, and what the pieces of their shared ``sites``."""
    whole = {c.person: c.adapter for c in candidates}
    parts = {person: keep_sites(adapter, sites[person]) for person, adapter in whole.items()}
    fewer = {p: part for p, part in parts.items() if len(sites[p]) < len(part.pairs)}
    found = audit_membership(
        base,
        [c.subject for c in candidates],
        {"adapter": whole, "pieces": fewer},
        config,
        forward_tokens=forward_tokens,
    )
    return {"adapter": found["adapter"], "pieces": found["adapter"] | found["pieces"]}


def audit_assembled(
    base: Base,
    pool: Pool,
    entries: Mapping[str, Contribution],
    candidates: Sequence[Candidate],
    config: LeakageConfig,
    *,
    forward_tokens: int,
) -> Findings:
    """What an adapter assembled from the pool and these entries (by person) gives away of each.

    Everyone who asks a pool gets another adapter. The newcomer that is tried here brings the latest
    items of the sharer themselves: nobody's history fits somebody's gates better, so hardly any
    newcomer gets more of the sharer's pieces, and no other person's data is needed. It errs on the
    safe side, since choosing by items that were trained on can only help to recognise them. The
    rest of the adapter comes from the other sharers, as it will; a pool of one gives the pieces.
    """
    prospect = PoolPreview(pool, list(entries.values()))
    newcomers = {c.person: c.examples[-TARGET_USER_ITEMS:] for c in candidates}
    top_k = min(AssembleConfig().top_k, len(prospect.sharers))
    recipes = assemble_recipes(base, prospect, newcomers, AssembleConfig(top_k=top_k))
    return audit_membership(
        base,
        [c.subject for c in candidates],
        {"assembled": {recipe.person: build_adapter(recipe, prospect) for recipe in recipes}},
        config,
        forward_tokens=forward_tokens,
    )


def keep_sites(adapter: LoraAdapter, paths: Sequence[str]) -> LoraAdapter:
    """The adapter with nothing but zeros at all other sites."""
    pairs = {
        path: pair if path in set(paths) else (torch.zeros_like(pair[0]), torch.zeros_like(pair[1]))
        for path, pair in adapter.pairs.items()
    }
    return replace(adapter, pairs=pairs)


def is_refused(findings: Mapping[str, Mapping[str, MembershipResult]], person: str) -> bool:
    """Whether what others would get of a person gives too much away, as far as it was measured."""
    found = (findings.get(name, {}).get(person) for name in SHARED_ARTIFACTS)
    return any(membership is not None and membership.refused for membership in found)


def findings_to_record(
    findings: Mapping[str, Mapping[str, MembershipResult]], person: str
) -> dict[str, float]:
    """What was found of a person, as numbers for a pool's record.

    ``PIECES_auc`` is two-sided, with its interval and p; an artifact without them was not
    measurable, one without ``PIECES_leaks`` was not tried.
    """
    out: dict[str, float] = {}
    for name in ARTIFACTS:
        found = findings.get(name, {}).get(person)
        if found is None:
            continue
        out |= {"held_in": found.held_in, "held_out": found.held_out}
        out[f"{name}_leaks"] = int(found.verdict == "leaks")
        if found.calibrated is not None:
            low, high = found.calibrated.two_sided_interval
            values = {"auc": found.calibrated.two_sided, "low": low, "high": high}
            values["p"] = found.calibrated.p
            out |= {f"{name}_{key}": round(value, 6) for key, value in values.items()}
    return out


def describe_leakage(about: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The same figures by artifact, with a verdict in words; those that were tried."""
    out: dict[str, dict[str, Any]] = {}
    for name in ARTIFACTS:
        if f"{name}_leaks" not in about:
            continue
        values = {
            k: about[f"{name}_{k}"] for k in ("auc", "low", "high", "p") if f"{name}_{k}" in about
        }
        verdict = "leaks" if about[f"{name}_leaks"] else "passed" if values else "not measurable"
        out[name] = {"verdict": verdict, **values}
    return out


def write_report(
    path: Path, pool: Pool, config: LeakageConfig, people: Sequence[Mapping[str, Any]]
) -> None:
    """Write the report of one pool; ``people`` carry no names."""
    content = {
        "format": 1,
        "pool": pool.id,
        "attack": "membership inference by loss, calibrated by the base; AUC two-sided",
        "settings": asdict(config),
        "people": sorted(people, key=lambda one: str(one["sharer"])),
    }
    write_json(path, content)
