"""Runs ``share`` from a request: opens the store, dataset, base and pool, and summarizes the
result.

This module handles folders and settings; ``sharing.py`` does the work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.formats.exchange import load_matching_base
from idiolect.adapters.lora import require_lora_config
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain, to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener, tee
from idiolect.history.dataset import read_dataset
from idiolect.models.encoder import MiniLM
from idiolect.models.folder.model_source import normalize_source
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.candidates import Candidates
from idiolect.pieces.sharing.harm import HarmCheck, skip_harm_check
from idiolect.pieces.sharing.request import ShareRequest
from idiolect.pieces.sharing.selection import select_sharers
from idiolect.pieces.sharing.sharing import ShareConfig, SharingOutcome, SharingRun
from idiolect.profiles.store import load_profiles
from idiolect.storage.files import hold_lock
from idiolect.storage.metrics_log import MetricsLog
from idiolect.storage.tree import require_no_outside_links
from idiolect.training.runs.plan import PersonalConfig

_MAX_REASON_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class ShareSummary:
    """The result of a run."""

    pool: Path
    sharers: int
    """Number of sharers now in the pool."""
    present: tuple[str, ...]
    """People who were selected and already in the pool."""
    findings: tuple[SharingOutcome, ...]
    """The outcome of each other selected person."""
    report: Path
    """The leakage report, under the pool's pseudonyms."""
    seconds: float

    def list_people(self, *outcomes: str) -> tuple[str, ...]:
        """Return the people with one of these outcomes."""
        return tuple(f.person for f in self.findings if f.outcome in outcomes)


def share_pieces(
    request: ShareRequest,
    *,
    harm_check: HarmCheck = skip_harm_check,
    listener: Listener = null_listener,
) -> ShareSummary:
    """Implement ``api.share``."""
    started = time.monotonic()
    config, store = request.config or ShareConfig(), request.store
    # Check what needs no model first.
    overrides = (("leakage", request.override_leakage), ("harm", request.override_harm))
    for what, reason in overrides:
        if reason is not None and not 0 < len(reason.strip()) <= _MAX_REASON_CHARS:
            raise UsageError(
                f"override of {what}: the reason must have 1 to {_MAX_REASON_CHARS} characters"
            )
    opened, dataset = AdapterStore.open(store), read_dataset(request.data)
    personal = from_plain(PersonalConfig, opened.settings, where=str(store))
    if personal.context.profile and request.profiles is None:
        raise UsageError(
            f"{store}: its adapters were trained with profiles; pass the profiles, too"
        )
    # The encoder embeds histories for clustering, and items for dense retrieval.
    by_cluster = config.sharers.strategy == "cluster" and not request.people
    dense = personal.context.retrieval == "dense"
    encoder = MiniLM() if by_cluster or dense else None
    require_no_outside_links(store)
    # Before the lock: a base that fails leaves nothing behind.
    base = load_matching_base(opened, request.base)
    opened.check_compatible(base=base.identity, task=dataset.task)
    with hold_lock(store / "share", wait=request.wait, what="sharing from the store"):
        # One run per store at a time: sharing reads and writes the store's ledger and checkpoint.
        folder = request.profiles
        profiles = load_profiles(folder, task=dataset.task) if folder else None
        candidates = Candidates(
            opened,
            dataset,
            base,
            personal,
            profiles=profiles,
            encoder=encoder,
            seed=config.sharers.seed,
        )
        # Named people must all be eligible; otherwise select among the eligible ones.
        if request.people:
            chosen = candidates.require_eligible(request.people)
        else:
            eligible = candidates.iter_eligible(listener)
            found = select_sharers(
                eligible, candidates.task, config.sharers, encoder=encoder, listener=listener
            )
            chosen = tuple(sharer.person for sharer in found)
        # Audit, train gates, and add the pieces to the pool.
        pool = Pool.create(
            request.pool,
            base,
            source=normalize_source(request.base) if request.base else opened.base_source,
            task=opened.task,
            lora=require_lora_config(opened.adapter_config),
            settings=to_plain(config),
        )
        sharing = SharingRun(
            base,
            candidates,
            pool,
            config,
            request.engine,
            reason=(request.override_leakage or "").strip(),
            harm_check=harm_check,
            harm_reason=(request.override_harm or "").strip(),
            listener=tee(listener, MetricsLog(store / "metrics.jsonl")),
        )
        findings = sharing.run(chosen)
    new = {finding.person for finding in findings}
    return ShareSummary(
        pool=request.pool,
        sharers=len(pool.sharers),
        present=tuple(person for person in chosen if person not in new),
        findings=findings,
        report=sharing.report_path,
        seconds=time.monotonic() - started,
    )
