"""One person's several questions with a profile each, made one history that gives nothing away.

In LaMP's time-based split a later question's profile holds what an earlier question asks for. A
query may see only its own profile, so it gets the time that lets it see just that; where times
cannot say it, only the items that stand in every profile are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from idiolect.importers.collector import HistoryCollector, RawRecord, ReadCounts

_RecordKey = tuple[tuple[tuple[str, str], ...], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, and the profile that came with it."""

    query: RawRecord
    items: tuple[RawRecord, ...]


def merge_questions(
    person: str, questions: Sequence[Question], gatherer: HistoryCollector, tally: ReadCounts
) -> None:
    """Add a person's questions and the union of their profiles to the gatherer."""
    if len(questions) == 1:
        for record in questions[0].items:
            gatherer.add_item(person, record, tally)
        gatherer.add_query(person, questions[0].query, tally)
        return
    own = [{_make_key(record) for record in question.items} for question in questions]
    items = {_make_key(record): record for question in questions for record in question.items}
    queries = _assign_times(questions, own, list(items))
    if queries is None:
        queries = [question.query for question in questions]
        common = set[_RecordKey].intersection(*own)
        for key in [key for key in items if key not in common]:
            reason = "an item that is not in every profile of its person, and has no telling date"
            tally.count_skip(reason, items.pop(key).where)
    for record in items.values():
        gatherer.add_item(person, record, tally)
    for query in queries:
        gatherer.add_query(person, query, tally)


def _make_key(record: RawRecord) -> _RecordKey:
    """Equal for the same record, whatever id each profile gives it."""
    return tuple(sorted(record.fields.items())), record.time


def _assign_times(
    questions: Sequence[Question], own: Sequence[set[_RecordKey]], items: Sequence[_RecordKey]
) -> list[RawRecord] | None:
    """The queries with times at which they see their own items only; ``None`` if there are none."""
    if all(keys == own[0] for keys in own):
        return [question.query for question in questions]
    times = {key: key[1] for key in items if key[1] is not None}
    if len(times) < len(items):
        return None
    queries: list[RawRecord] = []
    for question, keys in zip(questions, own, strict=True):
        last = max((times[key] for key in keys), default=min(times.values()) - 1.0)
        time = last if question.query.time is None else question.query.time
        if any(times[key] <= time for key in items if key not in keys):
            return None
        queries.append(replace(question.query, time=time))
    return queries
