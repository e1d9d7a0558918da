"""Shares selected people: audits them, splits their adapters into gated pieces, and adds these to a
pool.

People are processed in groups, so that only one group's adapters and gates are in memory. A second
run resumes: people in the pool are skipped, and gate training continues from its checkpoint. The
ledger records a share before the pool holds it: a kill in between leaves an extra event, never an
unrecorded share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from idiolect.audit.config import LeakageConfig
from idiolect.errors import UsageError
from idiolect.events import Listener, Progress, null_listener
from idiolect.models.base import Base
from idiolect.pieces.pool.contribution import Contribution, choose_shared_modules
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.candidates import Candidate, Candidates
from idiolect.pieces.sharing.harm import (
    HarmCheck,
    HarmConfig,
    HarmResult,
    describe_harm,
    skip_harm_check,
)
from idiolect.pieces.sharing.leakage import (
    Findings,
    LeakedItems,
    audit_assembled,
    audit_pieces,
    describe_leakage,
    describe_leaked_items,
    findings_to_record,
    is_refused,
    keep_modules,
    write_report,
)
from idiolect.pieces.sharing.pool_ledger import SHARED, PoolLedger
from idiolect.pieces.sharing.selection import SharersConfig
from idiolect.pieces.sharing.train_gates import GatesConfig, train_gates
from idiolect.storage.files import read_json
from idiolect.training.engine.config import EngineConfig

_PEOPLE_PER_GROUP = 32
"""People who are audited, whose gates are trained, and who are added together."""


@dataclass(frozen=True, kw_only=True)
class ShareConfig:
    """How sharers are selected, how much of their adapter they share, and when they are refused."""

    sharers: SharersConfig = field(default_factory=SharersConfig)
    ratio: float = 1.0
    """Fraction of a sharer's pieces that is shared."""
    gates: GatesConfig = field(default_factory=GatesConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    harm: HarmConfig = field(default_factory=HarmConfig)

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise UsageError(f"ratio: must be above 0 and at most 1, got {self.ratio}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingOutcome:
    """The findings about one person, and the outcome."""

    person: str
    sharer: str
    """The pseudonym in the pool and in the report."""
    outcome: str
    """``shared``; ``overridden`` (shared with a reason, although it leaks or is harmful);
    ``refused`` (it leaks); ``harmful`` (refused for that); or ``revoked`` (consent was revoked
    during the run)."""
    about: Mapping[str, float]
    """The numbers of the pool's record; see ``leakage.findings_to_record``."""
    leaks: tuple[LeakedItems, ...] = ()
    """The items that an attack got something out of."""


class SharingRun:
    """Adds selected people of one store to one pool."""

    def __init__(
        self,
        base: Base,
        candidates: Candidates,
        pool: Pool,
        config: ShareConfig,
        engine: EngineConfig | None = None,
        *,
        reason: str = "",
        harm_check: HarmCheck = skip_harm_check,
        harm_reason: str = "",
        at_once: int = _PEOPLE_PER_GROUP,
        listener: Listener = null_listener,
    ) -> None:
        self.base, self.candidates, self.pool, self.config = base, candidates, pool, config
        self.engine, self.listener = engine or EngineConfig(), listener
        self.people_per_group, self.harm_check = at_once, harm_check
        # Reasons to share in spite of a refusal; empty for none.
        self.leakage_override, self.harm_override = reason, harm_reason
        self.pool_ledger = PoolLedger(candidates.ledger, pool)
        store = candidates.store.folder
        self.report_path = store / "leakage" / f"{pool.id}.json"
        self.checkpoint_path = store / "share.bin"

    def run(self, people: Sequence[str]) -> tuple[SharingOutcome, ...]:
        """Share those of the people who are not in the pool yet, and return their outcomes."""
        present = self.pool_ledger.find_present()
        waiting = [person for person in people if person not in present]
        # Groups in an order that stays the same after a kill, but says nothing about names.
        secrets = self.pool_ledger.get_draw_secrets(waiting)
        waiting.sort(key=lambda person: secrets[person])
        findings: list[SharingOutcome] = []
        for start in range(0, len(waiting), self.people_per_group):
            # People who were already in the pool count as done.
            self._report_progress(len(people) - len(waiting) + start, len(people))
            some = waiting[start : start + self.people_per_group]
            findings += self._share_group(
                [self.candidates.load_candidate(person) for person in some]
            )
            self._write_report(findings)
            self.checkpoint_path.unlink(missing_ok=True)
        self._report_progress(len(people), len(people))
        self._write_report(findings)  # completes a run that was killed after adding to the pool
        self.checkpoint_path.unlink(missing_ok=True)
        by_person = {one.person: one for one in findings}
        return tuple(by_person[person] for person in people if person in by_person)

    def _report_progress(self, done: int, total: int) -> None:
        self.listener(Progress(stage="sharers", done=done, total=total, unit="people"))

    def _share_group(self, people: Sequence[Candidate]) -> list[SharingOutcome]:
        """Audit one group of people and add those who pass; return an outcome for each."""
        # Pseudonyms, and the modules that each person would share.
        names = self.pool_ledger.assign_pseudonyms([c.person for c in people])
        secrets = self.pool_ledger.get_draw_secrets(names)
        seed, ratio = self.config.sharers.seed, self.config.ratio
        sites = {p: choose_shared_modules(seed, secrets[p], self.pool.sites, ratio) for p in names}
        # The cheap checks first: leakage of the pieces, then harm. Gates are trained only for
        # people who pass both.
        audit, tokens = self.config.leakage, self.engine.scoring_tokens
        found = audit_pieces(self.base, people, sites, audit, forward_tokens=tokens)
        passed = [c for c in people if self.leakage_override or not is_refused(found, c.person)]
        harm = self._check_harm(passed, sites)
        harmful = {p for p, one in harm.items() if one.is_refused(self.config.harm)}
        passed = [c for c in passed if self.harm_override or c.person not in harmful]
        # The second audit needs trained gates: leakage of an assembled adapter.
        entries = self._make_contributions(passed, names, sites)
        if entries:
            found |= audit_assembled(
                self.base, self.pool, entries, passed, audit, forward_tokens=tokens
            )

        def collect_record(person: str) -> dict[str, float]:
            harm_record = harm[person].to_record(self.config.harm) if person in harm else {}
            return findings_to_record(found, person) | harm_record

        entries = {
            person: replace(entry, about={**entry.about, **collect_record(person)})
            for person, entry in entries.items()
        }
        # Add those who still pass, and record a refusal for the others.
        kept = [p for p in entries if self.leakage_override or not is_refused(found, p)]
        shared = self._add_to_pool({p: entries[p] for p in kept}, found, harmful)
        refused = {p: name for p, name in names.items() if p not in set(kept)}
        for why in ("harmful", "leaks"):
            people_refused = {
                p: n for p, n in refused.items() if (p in harmful) == (why == "harmful")
            }
            self.pool_ledger.record_refused(people_refused, why)
        items = {c.person: c.trained for c in people}
        return [
            SharingOutcome(
                person=person,
                sharer=name,
                outcome=shared.get(person) or _explain_unshared(person, kept, harmful),
                about=entries[person].about if person in entries else collect_record(person),
                leaks=describe_leaked_items(found, person, items[person]),
            )
            for person, name in names.items()
        ]

    def _check_harm(
        self, people: Sequence[Candidate], sites: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, HarmResult]:
        """Check the pieces that would be shared on harmful prompts; return results by person."""
        given = {c.person: keep_modules(c.adapter, sites[c.person]) for c in people}
        return self.harm_check(self.base, given, self.config.harm)

    def _make_contributions(
        self,
        people: Sequence[Candidate],
        names: Mapping[str, str],
        sites: Mapping[str, tuple[str, ...]],
    ) -> dict[str, Contribution]:
        """Train the gates of these people and return their contributions, by person."""
        trained = train_gates(
            self.base,
            [(c.person, c.adapter, c.examples) for c in people],
            self.config.gates,
            self.engine,
            checkpoint=self.checkpoint_path,
            listener=self.listener,
        )
        # ``about`` holds numbers only: the pool's records must not reveal any text.
        return {
            c.person: Contribution(
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

    def _add_to_pool(
        self, entries: Mapping[str, Contribution], found: Findings, harmful: Collection[str]
    ) -> dict[str, str]:
        """Add the people who still consent; return how (``shared`` or ``overridden``), by
        person."""
        out: dict[str, str] = {}
        with self.pool.lock_for_writing():
            # Consent is read again under the lock: it may have been revoked during training.
            dates = self.pool_ledger.find_consent_dates(entries)
            # In the order of the pseudonyms, as in the pool.
            for person in sorted(dates, key=lambda person: entries[person].sharer):
                overridden = self.leakage_override if is_refused(found, person) else ""
                harm = self.harm_override if person in harmful else ""
                self.pool_ledger.record_shared(
                    person,
                    entries[person].sharer,
                    consented=dates[person],
                    sites=len(entries[person].sites),
                    ratio=self.config.ratio,
                    overridden=overridden,
                    harm_overridden=harm,
                )
                out[person] = "overridden" if overridden or harm else "shared"
            self.pool.add_sharers([entry for person, entry in entries.items() if person in out])
        return out

    def _write_report(self, findings: Sequence[SharingOutcome]) -> None:
        """Write which people of this store are in the pool and which were refused, under
        pseudonyms."""
        # Refusals and leaking items exist only in the previous report and in this run's findings;
        # everything else about sharers is in the pool.
        known = read_json(self.report_path)["people"] if self.report_path.is_file() else []
        leaks = {one["sharer"]: one["leaks"] for one in known}
        leaks |= {f.sharer: [leak.to_report() for leak in f.leaks] for f in findings}
        refusals = {one["sharer"]: one for one in known if not one["shared"]}
        refusals |= {f.sharer: _describe_sharer(f.sharer, f.about) for f in findings}
        people: list[dict[str, Any]] = []
        present = self.pool_ledger.find_present()
        for person, entry in self.pool_ledger.find_last_events().items():
            name = str(entry.details["as"])
            told = {"leaks": leaks.get(name, [])}
            # In the pool: its record is the truth.
            if person in present:
                description = _describe_sharer(name, self.pool.get_record(name).about)
                told |= {"shared": True, "overridden": entry.details["overridden"]}
                people.append(description | told)
            elif entry.event != SHARED and name in refusals:
                people.append(refusals[name] | told)
        write_report(self.report_path, self.pool, self.config.leakage, people)


def _describe_sharer(sharer: str, about: Mapping[str, float]) -> dict[str, Any]:
    counts = {side: about[side] for side in ("held_in", "held_out")}
    description = {
        "sharer": sharer,
        "shared": False,
        **counts,
        "artifacts": describe_leakage(about),
    }
    harm = describe_harm(about)
    return description | ({"harm": harm} if harm else {})


def _explain_unshared(person: str, kept: Sequence[str], harmful: Collection[str]) -> str:
    """Return the outcome of a person who was not shared."""
    if person in kept:
        return "revoked"
    return "harmful" if person in harmful else "refused"
