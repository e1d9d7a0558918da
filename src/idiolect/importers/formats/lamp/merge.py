"""Merges one person's questions, each with its own profile, into one history without leakage.

In LaMP's time-based split, the profile of a later question contains the answer to an earlier one. A
query may see only its own profile, so it gets a time at which exactly these items are visible. If
no such times exist, only the items that occur in every profile are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from idiolect.importers.collector import HistoryCollector, RawRecord, ReadCounts

_RecordKey = tuple[tuple[tuple[str, str], ...], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, and the profile that belongs to it."""

    query: RawRecord
    items: tuple[RawRecord, ...]


def merge_questions(
    person: str, questions: Sequence[Question], collector: HistoryCollector, tally: ReadCounts
) -> None:
    """Add a person's questions and the union of their profiles to the collector."""
    # The user-based split: nothing to merge.
    if len(questions) == 1:
        for record in questions[0].items:
            collector.add_item(person, record, tally)
        collector.add_query(person, questions[0].query, tally)
        return
    own = [{_make_key(record) for record in question.items} for question in questions]
    items = {_make_key(record): record for question in questions for record in question.items}
    queries = _assign_times(questions, own, list(items))
    # No consistent times: keep only the items that every query may see.
    if queries is None:
        queries = [question.query for question in questions]
        common = set[_RecordKey].intersection(*own)
        for key in [key for key in items if key not in common]:
            reason = "an item that is not in every profile, and dates do not separate them"
            tally.count_skip(reason, items.pop(key).where)
    for record in items.values():
        collector.add_item(person, record, tally)
    for query in queries:
        collector.add_query(person, query, tally)


def _make_key(record: RawRecord) -> _RecordKey:
    """Return a key that is equal for equal records, whatever their id in each profile."""
    return tuple(sorted(record.fields.items())), record.time


def _assign_times(
    questions: Sequence[Question], own: Sequence[set[_RecordKey]], items: Sequence[_RecordKey]
) -> list[RawRecord] | None:
    """Return the queries with times at which they see only their own items.

    ``own`` contains the item keys of each question's profile. Returns ``None`` if no such times
    exist.
    """
    # Equal profiles need no times: each query may see all items.
    if all(keys == own[0] for keys in own):
        return [question.query for question in questions]
    times = {key: key[1] for key in items if key[1] is not None}
    # Without a date, an item cannot be placed before or after a query.
    if len(times) < len(items):
        return None
    queries: list[RawRecord] = []
    for question, keys in zip(questions, own, strict=True):
        # The query sees items up to its time: its own date, or that of its last item. An empty
        # profile gets a time before all items.
        last = max((times[key] for key in keys), default=min(times.values()) - 1.0)
        time = last if question.query.time is None else question.query.time
        # The query would see an item of another profile.
        if any(times[key] <= time for key in items if key not in keys):
            return None
        queries.append(replace(question.query, time=time))
    return queries
