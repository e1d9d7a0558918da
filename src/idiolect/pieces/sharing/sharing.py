"""Sharing: chosen people are audited, their adapters cut into gated pieces, and taken into a pool.

Some people at a time: their adapters and gates are in memory, of everyone else a name. A second run
goes on: who is in the pool is left alone, gates at work are checkpointed. The ledger is told of a
share before the pool has it: a kill in between leaves an event too many, never a share without one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from idiolect.audit.membership import LeakageConfig
from idiolect.errors import UsageError
from idiolect.events import Listener, Progress, silent
from idiolect.models.base import Base
from idiolect.pieces.pool.contribution import Shared, share_sites
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.candidates import Candidate, Candidates
from idiolect.pieces.sharing.harm import Harm, HarmCheck, HarmConfig, not_checked, readable_harm
from idiolect.pieces.sharing.leakage import (
    Findings,
    audit_assembled,
    audit_pieces,
    figures,
    only,
    readable,
    refused,
    write_report,
)
from idiolect.pieces.sharing.pool_ledger import SHARED, Shares
from idiolect.pieces.sharing.selection import SharersConfig
from idiolect.pieces.sharing.train_gates import GatesConfig, train_gates
from idiolect.storage.files import read_json
from idiolect.training.engine.config import EngineConfig

_AT_ONCE = 32
"""People who are audited, gated and added together."""


@dataclass(frozen=True, kw_only=True)
class ShareConfig:
    """Who shares, how much of their adapter, and when it is refused."""

    sharers: SharersConfig = field(default_factory=SharersConfig)
    ratio: float = 1.0
    """Which part of a sharer's pieces is given away."""
    gates: GatesConfig = field(default_factory=GatesConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    harm: HarmConfig = field(default_factory=HarmConfig)

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise UsageError(f"ratio: must be above 0 and at most 1, got {self.ratio}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one person, and what became of them."""

    person: str
    sharer: str
    """The pseudonym in the pool and in the report."""
    outcome: str
    """``shared``, ``overridden`` (shared although it gives too much away or is harmful, with a
    reason), ``refused`` (it gives too much away), ``harmful`` (refused for that), or ``revoked``:
    consent was taken back while this ran."""
    about: Mapping[str, float]
    """What the pool's record says; see ``leakage.figures``."""


class Sharing:
    """Takes chosen people of one store into one pool."""

    def __init__(
        self,
        base: Base,
        candidates: Candidates,
        pool: Pool,
        config: ShareConfig,
        engine: EngineConfig | None = None,
        *,
        reason: str = "",
        harm_check: HarmCheck = not_checked,
        harm_reason: str = "",
        at_once: int = _AT_ONCE,
        listener: Listener = silent,
    ) -> None:
        self.base, self.candidates, self.pool, self.config = base, candidates, pool, config
        self.engine, self.reason, self.listener = engine or EngineConfig(), reason, listener
        self.at_once, self.harm_check, self.harm_reason = at_once, harm_check, harm_reason
        self.shares = Shares(candidates.ledger, pool)
        store = candidates.store.folder
        self.report, self.checkpoint = store / "leakage" / f"{pool.id}.json", store / "share.bin"

    def run(self, people: Sequence[str]) -> tuple[Finding, ...]:
        """Share those of the people who are not in the pool yet; gives what was found of them."""
        present = self.shares.present()
        waiting = [person for person in people if person not in present]
        findings: list[Finding] = []
        for start in range(0, len(waiting), self.at_once):
            self._tell(len(people) - len(waiting) + start, len(people))
            some = waiting[start : start + self.at_once]
            findings += self._share([self.candidates.candidate(person) for person in some])
            self._write_report(findings)
            self.checkpoint.unlink(missing_ok=True)
        self._tell(len(people), len(people))
        self._write_report(findings)  # also what a kill right after the pool left undone
        self.checkpoint.unlink(missing_ok=True)
        return tuple(findings)

    def _tell(self, done: int, total: int) -> None:
        self.listener(Progress(stage="sharers", done=done, total=total, unit="people"))

    def _share(self, people: Sequence[Candidate]) -> list[Finding]:
        names = self.shares.names_for([c.person for c in people])
        secrets = self.shares.secrets_of(names)
        seed, ratio = self.config.sharers.seed, self.config.ratio
        sites = {p: share_sites(seed, secrets[p], self.pool.sites, ratio) for p in names}
        audit, tokens = self.config.leakage, self.engine.scoring_tokens
        found = audit_pieces(self.base, people, sites, audit, forward_tokens=tokens)
        let = [c for c in people if self.reason or not refused(found, c.person)]
        harm = self._harm(let, sites)
        harmful = {p for p, one in harm.items() if one.refused(self.config.harm)}
        let = [c for c in let if self.harm_reason or c.person not in harmful]
        entries = self._entries(let, names, sites)
        if entries:
            found |= audit_assembled(
                self.base, self.pool, entries, let, audit, forward_tokens=tokens
            )

        def about(person: str) -> dict[str, float]:
            told = harm[person].figures(self.config.harm) if person in harm else {}
            return figures(found, person) | told

        entries = {
            person: replace(entry, about={**entry.about, **about(person)})
            for person, entry in entries.items()
        }
        kept = [p for p in entries if self.reason or not refused(found, p)]
        shared = self._add({p: entries[p] for p in kept}, found, harmful)
        left = {p: name for p, name in names.items() if p not in set(kept)}
        for why in ("harmful", "leaks"):
            some = {p: n for p, n in left.items() if (p in harmful) == (why == "harmful")}
            self.shares.record_refused(some, why)
        return [
            Finding(
                person=person,
                sharer=name,
                outcome=shared.get(person) or _left(person, kept, harmful),
                about=entries[person].about if person in entries else about(person),
            )
            for person, name in names.items()
        ]

    def _harm(
        self, people: Sequence[Candidate], sites: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Harm]:
        """What the pieces that would be given away do on harmful prompts."""
        given = {c.person: only(c.adapter, sites[c.person]) for c in people}
        return self.harm_check(self.base, given, self.config.harm)

    def _entries(
        self,
        people: Sequence[Candidate],
        names: Mapping[str, str],
        sites: Mapping[str, tuple[str, ...]],
    ) -> dict[str, Shared]:
        """What everyone would give, their gates trained."""
        trained = train_gates(
            self.base,
            [(c.person, c.adapter, c.examples) for c in people],
            self.config.gates,
            self.engine,
            checkpoint=self.checkpoint,
            listener=self.listener,
        )
        return {
            c.person: Shared(
                sharer=names[c.person],
                adapter=c.adapter,
                gates={path: gates.adapter.vectors[path] for path in sites[c.person]},
                sites=sites[c.person],
                about={
                    "items": len(c.examples),
                    "steps": c.steps,
                    "gate_steps": gates.steps,
                    "gate_loss": round(gates.last_loss, 6),
                },
            )
            for c, gates in zip(people, trained, strict=True)
        }

    def _add(
        self, entries: Mapping[str, Shared], found: Findings, harmful: Collection[str]
    ) -> dict[str, str]:
        """Take in who still agrees; gives how (``shared`` or ``overridden``), by person."""
        out: dict[str, str] = {}
        with self.pool.writing():
            for person, since in self.shares.agreed(entries).items():
                overridden = self.reason if refused(found, person) else ""
                harm = self.harm_reason if person in harmful else ""
                self.shares.record_shared(
                    person,
                    entries[person].sharer,
                    consented=since,
                    sites=len(entries[person].sites),
                    ratio=self.config.ratio,
                    overridden=overridden,
                    harm_overridden=harm,
                )
                out[person] = "overridden" if overridden or harm else "shared"
            self.pool.add([entry for person, entry in entries.items() if person in out])
        return out

    def _write_report(self, findings: Sequence[Finding]) -> None:
        """Who of this store is in the pool and who was refused, under pseudonyms."""
        known = read_json(self.report)["people"] if self.report.is_file() else []
        refusals = {one["sharer"]: one for one in known if not one["shared"]}
        refusals |= {f.sharer: _told(f.sharer, f.about) for f in findings}
        people: list[dict[str, Any]] = []
        present = self.shares.present()
        for person, entry in self.shares.last().items():
            name = str(entry.details["as"])
            if person in present:
                told = _told(name, self.pool.record(name).about)
                people.append(told | {"shared": True, "overridden": entry.details["overridden"]})
            elif entry.event != SHARED and name in refusals:
                people.append(refusals[name])
        write_report(self.report, self.pool, self.config.leakage, people)


def _told(sharer: str, about: Mapping[str, float]) -> dict[str, Any]:
    counts = {side: about[side] for side in ("held_in", "held_out")}
    told = {"sharer": sharer, "shared": False, **counts, "artifacts": readable(about)}
    harm = readable_harm(about)
    return told | ({"harm": harm} if harm else {})


def _left(person: str, kept: Sequence[str], harmful: Collection[str]) -> str:
    """What became of somebody who was not shared."""
    if person in kept:
        return "revoked"
    return "harmful" if person in harmful else "refused"
