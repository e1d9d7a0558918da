"""Summary statistics of a dataset for ``idiolect inspect``; reads one person at a time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldStats:
    """One field over all items (or queries): how many have it, and its length."""

    filled: float
    """Fraction of the items in which the field is present and not blank, 0 to 1."""
    mean_words: float
    """Mean number of words in the items that have the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldExample:
    """One item, and the person it belongs to."""

    person: str
    item: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """The statistics of one dataset; times are Unix seconds, ``None`` if no item has a time."""

    name: str
    task: str
    source: str
    people: int
    splits: Mapping[str, int]
    """Number of people per split."""
    items: int
    queries: int
    queries_with_answer: int | None
    """Number of queries that have ``answer_field``; ``None`` if no field was given."""
    shortest: int
    median: float
    longest: int
    first_time: float | None
    last_time: float | None
    item_fields: Mapping[str, FieldStats]
    query_fields: Mapping[str, FieldStats]
    examples: tuple[FieldExample, ...]
    """Up to three items: one of the first, middle and last person who has any."""


@dataclass(slots=True)
class _FieldCounts:
    filled: int = 0
    words: int = 0


@dataclass(slots=True)
class _SummaryCounts:
    """Running totals while the histories are read."""

    items: dict[str, _FieldCounts] = field(default_factory=dict[str, _FieldCounts])
    queries: dict[str, _FieldCounts] = field(default_factory=dict[str, _FieldCounts])
    times: list[float] = field(default_factory=list[float])
    answered: int = 0

    def add_history(self, history: History, answer_field: str) -> None:
        for interaction in history.items:
            _count_fields(self.items, interaction)
        for query in history.queries:
            _count_fields(self.queries, query)
            self.answered += bool(query.fields.get(answer_field, "").strip())
        times = [i.time for i in history.items if i.time is not None]
        if times:
            # Only the first and last time are kept.
            self.times = [min([*self.times, *times]), max([*self.times, *times])]


def _count_fields(uses: dict[str, _FieldCounts], interaction: Interaction) -> None:
    for name, text in interaction.fields.items():
        use = uses.setdefault(name, _FieldCounts())
        words = len(text.split())
        use.filled += words > 0
        use.words += words


def _summarize_fields(uses: Mapping[str, _FieldCounts], total: int) -> dict[str, FieldStats]:
    return {
        name: FieldStats(filled=use.filled / total, mean_words=use.words / max(use.filled, 1))
        for name, use in sorted(uses.items())
    }


def summarize_dataset(dataset: Dataset, *, answer_field: str = "") -> DatasetSummary:
    """Summarize a dataset; ``answer_field`` is its task's target field."""
    sums = _SummaryCounts()
    lengths: list[int] = []
    splits: dict[str, int] = {}
    # One pass over the histories; only totals stay in memory.
    for history in dataset:
        sums.add_history(history, answer_field)
        lengths.append(len(history.items))
        split = dataset.get_split(history.person)
        splits[split] = splits.get(split, 0) + 1
    items, queries = sum(lengths), int(dataset.manifest["queries"])
    return DatasetSummary(
        name=dataset.name,
        task=dataset.task,
        source=str(dataset.manifest["source"]),
        people=len(dataset),
        splits=splits,
        items=items,
        queries=queries,
        queries_with_answer=sums.answered if answer_field else None,
        shortest=min(lengths, default=0),
        median=float(statistics.median(lengths)) if lengths else 0.0,
        longest=max(lengths, default=0),
        first_time=sums.times[0] if sums.times else None,
        last_time=sums.times[1] if sums.times else None,
        item_fields=_summarize_fields(sums.items, max(items, 1)),
        query_fields=_summarize_fields(sums.queries, max(queries, 1)),
        examples=_pick_examples(dataset),
    )


def _pick_examples(dataset: Dataset) -> tuple[FieldExample, ...]:
    people = [p for p in dataset.people if dataset.get_counts(p)[0]]
    # With one or two people, the three indices select the same person more than once.
    chosen = dict.fromkeys(people[k] for k in (0, len(people) // 2, -1) if people)
    return tuple(
        FieldExample(person=person, item=history.items[len(history.items) // 2])
        for person, history in ((p, dataset.read_history(p)) for p in chosen)
    )
