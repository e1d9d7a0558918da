"""Whose adapters are cut into pieces: a few people who between them are like most others.

Per-Pcs (arXiv 2406.10471, section 3.1): each candidate is the mean of their items' embeddings,
k-means puts like ones together, and of each cluster the most active person is taken. Two plainer
ways stand beside it for comparison. Knows histories and an encoder; knows nothing of adapters or of
consent: candidates are those who may be asked.
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
"""Times that k-means begins anew; the best end is taken."""
_DECIMALS = 6
"""Of a mean of unit vectors; what is below is rounding of fp32."""


@dataclass(frozen=True, kw_only=True)
class SharersConfig:
    """Who is taken, and how many."""

    strategy: Strategy = "cluster"
    """``cluster``: the most active person of each of that many clusters; ``most-active``;
    ``random``: a draw that only grows when more are asked for."""
    sharers: int = 50
    """As in the paper."""
    least_items: int = 10
    """Nobody with a shorter history, as in the paper: their pieces would be made of little."""
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
    """Somebody who was chosen."""

    person: str
    items: int
    cluster: int | None
    """The cluster whose most active person it is; ``None`` without clusters, and for who fills a
    place for which there was none."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    person: str
    items: int
    mean: NDArray[np.float64] | None
    """[D] for clusters."""


def select_sharers(
    candidates: Iterable[History],
    task: Task,
    config: SharersConfig | None = None,
    *,
    encoder: Encoder | None = None,
    listener: Listener = null_listener,
) -> tuple[Sharer, ...]:
    """Choose sharers among the candidates; by person, whatever order they come in.

    Histories stream by: of each a name, a count and one vector stay. Ties go to the name that sorts
    first. Where fewer have ``least_items`` than are asked for, all of those are taken and the
    listener is told: the number is an upper bound on who gives something away, and a small group
    need not know its own size. Where people are too alike for so many clusters, the places left
    over go to the most active of the rest. Raises UsageError where nobody can be taken, and for
    clusters without an encoder; IntegrityError for an encoder that gives no finite numbers.
    """
    config = config or SharersConfig()
    if config.strategy == "cluster" and encoder is None:
        raise UsageError("sharers by cluster need an encoder; pass one, or use 'most-active'")
    encoder = encoder if config.strategy == "cluster" else None
    able, short = _select_eligible(candidates, task, config.least_items, encoder)
    if not able:
        raise UsageError(
            f"nobody can share: of {short} candidates none has {config.least_items} items "
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
        # Everyone's place in the draw is their own, so fewer sharers are some of more of them.
        drawn = sorted(able, key=lambda c: derive_seed(config.seed, c.person, "sharers"))
        chosen = _to_sharers(drawn[: config.sharers])
    return tuple(sorted(chosen, key=lambda sharer: sharer.person))


def _select_eligible(
    candidates: Iterable[History], task: Task, least: int, encoder: Encoder | None
) -> tuple[list[_Candidate], int]:
    """Who has enough items, by name, and how many have not."""
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
    """The mean [D] of the vectors of what of each item is searched."""
    vectors = np.asarray(encoder([task.index_text(item) for item in history.items]))
    assert vectors.ndim == 2 and len(vectors) == len(history.items), vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise IntegrityError(
            f"the encoder gave a vector that is not finite for an item of {history.person!r}; its "
            "weights are damaged: fetch them again"
        )
    return mean


def _choose_by_cluster(able: Sequence[_Candidate], config: SharersConfig) -> list[Sharer]:
    labels = _assign_clusters(able, config)
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
    """The cluster of each candidate, numbered by the first name in it."""
    from sklearn.cluster import KMeans  # slow to load, and for this strategy only

    # More clusters than different points would leave some empty, and k-means would complain; points
    # that differ by rounding alone are the same.
    means = np.stack([c.mean for c in able if c.mean is not None]).round(_DECIMALS)
    count = min(config.sharers, len(np.unique(means, axis=0)))
    seed = derive_seed(config.seed, "sharers", "k-means") % 2**32
    k_means = cast("Any", KMeans)(n_clusters=count, n_init=_KMEANS_RESTARTS, random_state=seed).fit(
        means
    )
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(label), len(numbers)) for label in k_means.labels_]


def _activity_key(candidate: _Candidate) -> tuple[int, str]:
    """Sorts the longest history first."""
    return (-candidate.items, candidate.person)


def _to_sharers(candidates: Sequence[_Candidate]) -> list[Sharer]:
    return [Sharer(person=c.person, items=c.items, cluster=None) for c in candidates]
