"""The whole way from a store of adapters into a pool: opens what is needed, says what was done.

Knows folders and settings; the work itself is in ``sharing.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.formats.exchange import base_of
from idiolect.adapters.lora import require_lora_config
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain, to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, both, silent
from idiolect.history.dataset import read_dataset
from idiolect.models.encoder import MiniLM
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.candidates import Candidates
from idiolect.pieces.sharing.harm import HarmCheck, not_checked
from idiolect.pieces.sharing.request import ShareRequest
from idiolect.pieces.sharing.selection import select_sharers
from idiolect.pieces.sharing.sharing import Finding, ShareConfig, Sharing
from idiolect.profiles.store import load as load_profiles
from idiolect.storage.files import lock
from idiolect.storage.metrics_log import MetricsLog
from idiolect.training.runs.plan import PersonalConfig

_LONGEST_REASON = 300


@dataclass(frozen=True, kw_only=True)
class ShareSummary:
    """What a run did."""

    pool: Path
    sharers: int
    """Everybody in the pool now."""
    present: tuple[str, ...]
    """Those who were chosen and in it before."""
    findings: tuple[Finding, ...]
    """Of everyone else who was chosen."""
    report: Path
    """What was found, under the pool's pseudonyms."""
    seconds: float

    def who(self, *outcomes: str) -> tuple[str, ...]:
        """The people with one of these outcomes."""
        return tuple(f.person for f in self.findings if f.outcome in outcomes)


def share(
    request: ShareRequest, *, harm_check: HarmCheck = not_checked, listener: Listener = silent
) -> ShareSummary:
    """See ``api.share``."""
    started = time.monotonic()
    config, store = request.config or ShareConfig(), request.store
    overrides = (("leakage", request.override_leakage), ("harm", request.override_harm))
    for what, reason in overrides:
        if reason is not None and not 0 < len(reason.strip()) <= _LONGEST_REASON:
            raise UsageError(
                f"override of {what}: give the reason, in at most {_LONGEST_REASON} characters"
            )
    opened, dataset = AdapterStore.open(store), read_dataset(request.data)
    personal = from_plain(PersonalConfig, opened.settings, where=str(store))
    if personal.context.profile and request.profiles is None:
        raise UsageError(f"{store}: its adapters were trained with profiles; name them, too")
    by_cluster = config.sharers.strategy == "cluster" and not request.people
    dense = personal.context.retrieval == "dense"
    encoder = MiniLM() if by_cluster or dense else None
    with lock(store / "share", wait=request.wait, what="sharing from the store"):
        loaded = base_of(opened, request.base)
        opened.require(base=loaded.identity, task=dataset.task)
        folder = request.profiles
        profiles = load_profiles(folder, task=dataset.task) if folder else None
        candidates = Candidates(
            opened,
            dataset,
            loaded,
            personal,
            profiles=profiles,
            encoder=encoder,
            seed=config.sharers.seed,
        )
        if request.people:
            chosen = candidates.named(request.people)
        else:
            able = candidates.everyone(listener)
            found = select_sharers(
                able, candidates.task, config.sharers, encoder=encoder, listener=listener
            )
            chosen = tuple(sharer.person for sharer in found)
        made = Pool.create(
            request.pool,
            loaded,
            source=request.base or opened.base_source,
            task=opened.task,
            lora=require_lora_config(opened.adapter_config),
            settings=to_plain(config),
        )
        sharing = Sharing(
            loaded,
            candidates,
            made,
            config,
            request.engine,
            reason=(request.override_leakage or "").strip(),
            harm_check=harm_check,
            harm_reason=(request.override_harm or "").strip(),
            listener=both(listener, MetricsLog(store / "metrics.jsonl")),
        )
        findings = sharing.run(chosen)
    new = {finding.person for finding in findings}
    return ShareSummary(
        pool=request.pool,
        sharers=len(made.sharers),
        present=tuple(person for person in chosen if person not in new),
        findings=findings,
        report=sharing.report,
        seconds=time.monotonic() - started,
    )
