"""Leakage audit before sharing: membership inference against three artifacts of each sharer.

``adapter`` is the whole adapter, which stays in its store and is measured for comparison.
``pieces`` is the part of it that would be in the pool. ``assembled`` is the adapter that a target
user just like the sharer would get. The last two decide. The pool's record keeps the figures as
plain numbers; a report in the sharers' own store lists them under the pool's pseudonyms.
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
"""The artifacts that other people get."""
ARTIFACTS = ("adapter", *SHARED_ARTIFACTS)
TARGET_USER_ITEMS = 16
"""Items of the audit's target user. Pieces are chosen by means over items, which change little with
more."""

Findings = dict[str, dict[str, MembershipResult]]
"""Audit results by artifact, then by person."""


def audit_pieces(
    base: Base,
    candidates: Sequence[Candidate],
    sites: Mapping[str, Sequence[str]],
    config: LeakageConfig,
    *,
    forward_tokens: int,
) -> Findings:
    """Audit each person's whole adapter, and the pieces that they would share (``sites``:
    module paths by person)."""
    whole = {c.person: c.adapter for c in candidates}
    parts = {person: keep_modules(adapter, sites[person]) for person, adapter in whole.items()}
    # If all modules are shared, the pieces are the whole adapter: reuse its result.
    partial = {p: part for p, part in parts.items() if len(sites[p]) < len(part.pairs)}
    found = audit_membership(
        base,
        [c.subject for c in candidates],
        {"adapter": whole, "pieces": partial},
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
    """Audit adapters assembled from the pool and these entries (by person), for leakage of each
    person.

    Every target user gets a different adapter. The target user simulated here brings the sharer's
    own latest items: no other history fits the sharer's gates better, so hardly any real target
    user gets more of the sharer's pieces, and no other person's data is needed. This errs on the
    safe side, because choosing pieces by training items can only help to recognize them. The rest
    of the adapter comes from the other sharers, as in practice; in a pool of one, the sharer's
    pieces are the adapter.
    """
    # The pool as it would be with these entries; nothing is written.
    preview = PoolPreview(pool, list(entries.values()))
    target_users = {c.person: c.examples[-TARGET_USER_ITEMS:] for c in candidates}
    # A small pool may have fewer sharers than the default ``top_k``.
    top_k = min(AssembleConfig().top_k, len(preview.sharers))
    recipes = assemble_recipes(base, preview, target_users, AssembleConfig(top_k=top_k))
    return audit_membership(
        base,
        [c.subject for c in candidates],
        {"assembled": {recipe.person: build_adapter(recipe, preview) for recipe in recipes}},
        config,
        forward_tokens=forward_tokens,
    )


def keep_modules(adapter: LoraAdapter, paths: Sequence[str]) -> LoraAdapter:
    """Return the adapter with zeros for all other modules."""
    # Zeros keep the kind of adapter, so that both artifacts fit one audit.
    pairs = {
        path: pair if path in set(paths) else (torch.zeros_like(pair[0]), torch.zeros_like(pair[1]))
        for path, pair in adapter.pairs.items()
    }
    return replace(adapter, pairs=pairs)


def is_refused(findings: Mapping[str, Mapping[str, MembershipResult]], person: str) -> bool:
    """Return whether the artifacts that other people get leak too much about a person.

    Artifacts that were not measured do not count.
    """
    found = (findings.get(name, {}).get(person) for name in SHARED_ARTIFACTS)
    return any(membership is not None and membership.refused for membership in found)


def findings_to_record(
    findings: Mapping[str, Mapping[str, MembershipResult]], person: str
) -> dict[str, float]:
    """Return the findings about a person as numbers for a pool's record.

    ``ARTIFACT_auc`` is two-sided, with its interval and p. It is missing if the artifact could not
    be measured; ``ARTIFACT_leaks`` is missing if it was not audited.
    """
    out: dict[str, float] = {}
    for name in ARTIFACTS:
        found = findings.get(name, {}).get(person)
        if found is None:
            continue
        out |= {"held_in": found.held_in, "held_out": found.held_out}
        out[f"{name}_leaks"] = int(found.verdict == "leaks")
        # Without enough items there is a verdict, but no figures.
        if found.calibrated is not None:
            low, high = found.calibrated.two_sided_interval
            values = {"auc": found.calibrated.two_sided, "low": low, "high": high}
            values["p"] = found.calibrated.p
            out |= {f"{name}_{key}": round(value, 6) for key, value in values.items()}
    return out


def describe_leakage(about: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return the figures of a record by artifact, with a verdict; only artifacts that were
    audited."""
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
    """Write the report of one pool; ``people`` contains pseudonyms only."""
    content = {
        "format": 1,
        "pool": pool.id,
        "attack": "membership inference by loss, calibrated by the base; AUC two-sided",
        "settings": asdict(config),
        "people": sorted(people, key=lambda one: str(one["sharer"])),
    }
    write_json(path, content)
