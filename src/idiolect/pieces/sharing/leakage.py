"""Leakage audit before sharing: the attacks of ``audit`` on three artifacts of each sharer.

``adapter`` is the whole adapter, which stays in its store; its membership is measured for
comparison. ``pieces`` is the part of it that would be in the pool. ``assembled`` is the adapter
that a target user just like the sharer would get. The last two decide. The pool's record keeps the
figures as plain numbers. A report in the sharers' own store lists them under the pool's pseudonyms,
with what leaked of which items, by their number in the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.attacks import AuditResult, audit_artifacts
from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import ITEM_ATTACKS, describe_leak
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.pool.preview import PoolPreview
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.sharing.candidates import Candidate, TrainedItem
from idiolect.storage.files import write_json

SHARED_ARTIFACTS = ("pieces", "assembled")
"""The artifacts that other people get."""
ARTIFACTS = ("adapter", *SHARED_ARTIFACTS)
TARGET_USER_ITEMS = 16
"""Items of the audit's target user. Pieces are chosen by means over items, which change little with
more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakedItems:
    """A text that leaks, as a sentence without its words, and the items that contain it."""

    artifact: str
    what: str
    items: tuple[TrainedItem, ...]

    def to_report(self) -> dict[str, Any]:
        """Return the finding for the report in the sharer's store: items by number and date."""
        return {
            "artifact": self.artifact,
            "what": self.what,
            "items": [
                {
                    "number": item.number,
                    "date": None
                    if item.time is None
                    else f"{datetime.fromtimestamp(item.time, UTC):%Y-%m-%d}",
                }
                for item in self.items
            ],
        }


Findings = dict[str, dict[str, AuditResult]]
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
    partial = {p: whole[p] for p, part in parts.items() if len(sites[p]) < len(part.pairs)}
    found = audit_artifacts(
        base,
        [c.subject for c in candidates],
        {"adapter": partial, "pieces": parts},
        config,
        compared=("adapter",),
        forward_tokens=forward_tokens,
    )
    return {"adapter": found["pieces"] | found["adapter"], "pieces": found["pieces"]}


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
    return audit_artifacts(
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


def is_refused(findings: Mapping[str, Mapping[str, AuditResult]], person: str) -> bool:
    """Return whether the artifacts that other people get leak too much about a person.

    Artifacts that were not measured do not count.
    """
    found = (findings.get(name, {}).get(person) for name in SHARED_ARTIFACTS)
    return any(result is not None and result.refused for result in found)


def findings_to_record(
    findings: Mapping[str, Mapping[str, AuditResult]], person: str
) -> dict[str, float]:
    """Return the findings about a person as numbers for a pool's record.

    ``ARTIFACT_auc`` is two-sided, with its interval and p. It is missing if the artifact could not
    be measured; ``ARTIFACT_leaks`` is missing if it was not audited. ``ARTIFACT_extraction`` and so
    on are the numbers of texts that each attack on single items found.
    """
    out: dict[str, float] = {}
    for name in ARTIFACTS:
        result = findings.get(name, {}).get(person)
        if result is None:
            continue
        found = result.membership
        out |= {"held_in": found.held_in, "held_out": found.held_out}
        out[f"{name}_leaks"] = int(result.verdict == "leaks")
        for attack in ITEM_ATTACKS:
            out[f"{name}_{attack}"] = sum(leak.attack == attack for leak in result.leaks)
        # Without enough items there is a verdict, but no figures.
        if found.calibrated is not None:
            low, high = found.calibrated.two_sided_interval
            values = {"auc": found.calibrated.two_sided, "low": low, "high": high}
            values["p"] = found.calibrated.p
            out |= {f"{name}_{key}": round(value, 6) for key, value in values.items()}
    return out


def describe_leaked_items(
    findings: Mapping[str, Mapping[str, AuditResult]], person: str, items: Sequence[TrainedItem]
) -> tuple[LeakedItems, ...]:
    """Return what the attacks on single items found in the artifacts that other people get.

    ``items``: those of ``AuditSubject.trained_items``. A text that leaks from two artifacts is
    named once.
    """
    out: dict[tuple[str, str, tuple[int, ...]], LeakedItems] = {}
    for name in SHARED_ARTIFACTS:
        result = findings.get(name, {}).get(person)
        for leak in result.leaks if result else ():
            out.setdefault(
                (leak.attack, leak.kind, leak.items),
                LeakedItems(
                    artifact=name,
                    what=describe_leak(leak),
                    items=tuple(items[item] for item in leak.items),
                ),
            )
    return tuple(out.values())


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
        # Only the attacks that found something.
        found = {
            attack: count for attack in ITEM_ATTACKS if (count := about.get(f"{name}_{attack}", 0))
        }
        out[name] = {"verdict": verdict, **values, **({"found": found} if found else {})}
    return out


def write_report(
    path: Path, pool: Pool, config: LeakageConfig, people: Sequence[Mapping[str, Any]]
) -> None:
    """Write the report of one pool; ``people`` contains pseudonyms only."""
    content = {
        "format": 1,
        "pool": pool.id,
        "attack": "membership inference by loss, calibrated by the base (AUC two-sided); and per "
        "item: loss, exposure, extraction, generation",
        "settings": asdict(config),
        "people": sorted(people, key=lambda one: str(one["sharer"])),
    }
    write_json(path, content)
