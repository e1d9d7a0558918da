"""The leakage audit of a mean: what it, and a basis around it, reveal about each person in it.

Audited are the mean, and for a basis also the adapter nearest to each person's own that its
directions can make: private training of others could come that close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.formats.exchange import load_matching_base
from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store.store import AdapterStore
from idiolect.audit.attacks import audit_artifacts
from idiolect.audit.config import LeakageConfig
from idiolect.audit.subject import AuditSubject
from idiolect.config import from_plain
from idiolect.errors import UsageError
from idiolect.history.dataset import read_dataset
from idiolect.models.base import Base
from idiolect.models.encoder import MiniLM
from idiolect.pieces.means.request import MeanRequest
from idiolect.pieces.sharing.candidates import Candidates
from idiolect.profiles.store import load_profiles
from idiolect.training.runs.plan import PersonalConfig


def audit_mean(
    request: MeanRequest,
    store: AdapterStore,
    people: Sequence[str],
    made: AdapterBasis | LoraAdapter,
    adapters: Sequence[LoraAdapter],
) -> dict[str, str]:
    """Return the people for whose sake the mean is refused, with the reason.

    ``adapters`` are the people's own. Raises UsageError if profiles are needed but not given.
    """
    if request.data is None:
        return dict.fromkeys(people, "not audited: no dataset")
    dataset = read_dataset(request.data)
    base = load_matching_base(store, request.base)
    store.check_compatible(base=base.identity, task=dataset.task)
    personal = from_plain(PersonalConfig, store.settings, where=str(store.folder))
    if personal.context.profile and request.profiles is None:
        raise UsageError(
            f"{store.folder}: its adapters were trained with profiles; pass the profiles, too"
        )
    candidates = Candidates(
        store,
        dataset,
        base,
        personal,
        profiles=load_profiles(request.profiles, task=dataset.task) if request.profiles else None,
        encoder=MiniLM() if personal.context.retrieval == "dense" else None,
    )
    # People whose training items are unknown cannot be measured.
    refused = {p: why for p in people if (why := candidates.explain_ineligible(p))}
    subjects = [candidates.load_candidate(p).subject for p in people if p not in refused]
    return refused | _measure_leaks(base, subjects, dict(zip(people, adapters, strict=True)), made)


def _measure_leaks(
    base: Base,
    subjects: Sequence[AuditSubject],
    own: dict[str, LoraAdapter],
    made: AdapterBasis | LoraAdapter,
) -> dict[str, str]:
    """Audit all artifacts on these people; return those who are refused, with the reason."""
    if not subjects:
        return {}
    mean = made.mean if isinstance(made, AdapterBasis) else made
    artifacts = {"the mean": {s.person: mean for s in subjects}}
    if isinstance(made, AdapterBasis):
        artifacts["the directions"] = {
            s.person: made.move_to(made.project(own[s.person])) for s in subjects
        }
    # One refusal stops the mean: divide the level by the number of tests, so that false alarms do
    # not grow with the number of people.
    config = LeakageConfig()
    config = replace(config, level=config.level / (len(subjects) * len(artifacts)))
    found = audit_artifacts(base, subjects, artifacts, config)
    return {
        person: f"{name}: {result.verdict}"
        for name, results in found.items()
        for person, result in results.items()
        if result.refused
    }
