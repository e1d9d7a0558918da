"""Selects sharers: a few people who together represent most others.

Per-Pcs (arXiv 2406.10471, section 3.1): each candidate is the mean of their items' embeddings,
k-means clusters the candidates, and the most active person of each cluster is selected. Two simpler
strategies exist for comparison. This module uses histories and an encoder, not adapters or
consent: the caller passes eligible candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.history import History
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.task import Task

Strategy = Literal["cluster", "most-active", "random"]

_KMEANS_RESTARTS = 10
"""Number of k-means restarts; the best result is used."""
_DECIMALS = 6
"""Decimals kept of a mean of unit vectors; the rest is fp32 rounding."""


@dataclass(frozen=True, kw_only=True)
class SharersConfig:
    """How sharers are selected, and how many."""

    strategy: Strategy = "cluster"
    """``cluster``: the most active person of each cluster, with as many clusters as sharers.
    ``most-active``: the longest histories. ``random``: a draw that only grows if more sharers are
    requested."""
    sharers: int = 50
    """Number of sharers; 50 as in the paper."""
    least_items: int = 10
    """Minimum history length, as in the paper; shorter histories give poorly trained pieces."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in ("cluster", "most-active", "random"):
            raise UsageError(
                f"sharers.strategy: must be cluster, most-active or random, got {self.strategy!r}"
            )
        for name in ("sharers", "least_items"):
            if getattr(self, name) < 1:
                raise UsageError(f"sharers.{name}: must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharer:
    """A selected person."""

    person: str
    items: int
    cluster: int | None
    """The cluster whose most active person this is; ``None`` without clusters, and for a person who
    was selected because there were fewer clusters than sharers."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    person: str
    items: int
    mean: NDArray[np.float64] | None
    """Mean embedding [D], for clustering."""


def select_sharers(
    candidates: Iterable[History],
    task: Task,
    config: SharersConfig | None = None,
    *,
    encoder: Encoder | None = None,
    listener: Listener = null_listener,
) -> tuple[Sharer, ...]:
    """Select sharers among the candidates; the result is sorted by person, whatever the input
    order.

    Histories are streamed: a name, a count and one vector of each are kept. Ties go to the name
    that sorts first. If fewer candidates than requested have ``least_items``, all of those are
    selected and the listener gets a message: the number is an upper bound, so the
    caller need not count them. If people are too similar for the number of clusters, the remaining
    places go to the most active of the rest. Raises UsageError if no candidate is eligible, or for
    clusters without an encoder; IntegrityError if the encoder returns values that are not finite.
    """
    config = config or SharersConfig()
    if config.strategy == "cluster" and encoder is None:
        raise UsageError(
            "sharers.strategy 'cluster' needs an encoder; pass one, or use 'most-active'"
        )
    encoder = encoder if config.strategy == "cluster" else None
    able, short = _select_eligible(candidates, task, config.least_items, encoder)
    if not able:
        raise UsageError(
            f"no person can share: none of {short} candidates has {config.least_items} items "
            "(sharers.least_items)"
        )
    if len(able) < config.sharers:
        listener(
            Message(
                text=f"{len(able)} sharers instead of {config.sharers}: {short} more candidates "
                f"have fewer than {config.least_items} items"
            )
        )
    if config.strategy == "cluster":
        chosen = _choose_by_cluster(able, config)
    elif config.strategy == "most-active":
        chosen = _to_sharers(sorted(able, key=_activity_key)[: config.sharers])
    else:
        # Each person's rank depends only on (seed, person), so a smaller draw is a subset of a
        # larger one.
        drawn = sorted(able, key=lambda c: derive_seed(config.seed, c.person, "sharers"))
        chosen = _to_sharers(drawn[: config.sharers])
    return tuple(sorted(chosen, key=lambda sharer: sharer.person))


def _select_eligible(
    candidates: Iterable[History], task: Task, least: int, encoder: Encoder | None
) -> tuple[list[_Candidate], int]:
    """Return the candidates with enough items, sorted by name, and the number of the others."""
    able: dict[str, _Candidate] = {}
    short = 0
    for history in candidates:
        if len(history.items) < least:
            short += 1
            continue
        assert history.person not in able, "a person comes once"
        mean = compute_mean_vector(history, task, encoder) if encoder is not None else None
        able[history.person] = _Candidate(history.person, len(history.items), mean)
    return [able[person] for person in sorted(able)], short


def compute_mean_vector(history: History, task: Task, encoder: Encoder) -> NDArray[np.float64]:
    """Return the mean [D] of the embeddings of the items' search texts."""
    vectors = np.asarray(encoder([task.index_text(item) for item in history.items]))
    assert vectors.ndim == 2 and len(vectors) == len(history.items), vectors.shape
    # Accumulate in fp64, so that the order of items hardly matters.
    mean = vectors.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise IntegrityError(
            f"the encoder returned a vector that is not finite for an item of {history.person!r}; "
            "its weights are damaged: download them again"
        )
    return mean


def _choose_by_cluster(able: Sequence[_Candidate], config: SharersConfig) -> list[Sharer]:
    labels = _assign_clusters(able, config)
    # The most active person of each cluster; then fill the remaining places by activity.
    best: dict[int, _Candidate] = {}
    for candidate, label in sorted(
        zip(able, labels, strict=True), key=lambda pair: _activity_key(pair[0])
    ):
        best.setdefault(label, candidate)
    taken = {candidate.person for candidate in best.values()}
    rest = sorted((c for c in able if c.person not in taken), key=_activity_key)
    chosen = [
        Sharer(person=candidate.person, items=candidate.items, cluster=label)
        for label, candidate in best.items()
    ]
    return chosen + _to_sharers(rest[: config.sharers - len(chosen)])


def _assign_clusters(able: Sequence[_Candidate], config: SharersConfig) -> list[int]:
    """Return the cluster of each candidate, numbered in the order of their first members."""
    from sklearn.cluster import KMeans  # slow to import, and needed only here

    # k-means warns if there are more clusters than distinct points. Points that differ only by
    # rounding are not distinct.
    means = np.stack([c.mean for c in able if c.mean is not None]).round(_DECIMALS)
    count = min(config.sharers, len(np.unique(means, axis=0)))
    # sklearn takes 32-bit seeds.
    seed = derive_seed(config.seed, "sharers", "k-means") % 2**32
    # The cast hides sklearn's incomplete type hints.
    k_means = cast("Any", KMeans)(n_clusters=count, n_init=_KMEANS_RESTARTS, random_state=seed).fit(
        means
    )
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(label), len(numbers)) for label in k_means.labels_]


def _activity_key(candidate: _Candidate) -> tuple[int, str]:
    """Sort key: longest history first, then by name."""
    return (-candidate.items, candidate.person)


def _to_sharers(candidates: Sequence[_Candidate]) -> list[Sharer]:
    return [Sharer(person=c.person, items=c.items, cluster=None) for c in candidates]
