"""What of a dataset is somebody's words, in their own history and inside others', and without it.

Knows histories, and what a task says of whose words stand in which field; knows no files but
datasets. Only rows change that hold their words: everybody else's history stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Protocol

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.privacy.patterns import (
    MIN_PATTERN_CHARS,
    SearchPatterns,
    normalize_text,
    split_into_patterns,
)

REDACTED_TEXT = "[removed]"
"""What stands in the place of a line that is gone."""
OWN_LINE_PREFIX = "me:"
"""Lines of a conversation that are the person's own begin so (``importers.conversation``)."""
OTHERS_LINE_PREFIX = "them:"


class AuthoredText(Protocol):
    """What a task says of whose words stand where."""

    @property
    def target_field(self) -> str:
        """The field that holds the person's own words, where others' stand in the rest."""
        ...

    @property
    def record_key(self) -> Callable[[Interaction], str | None]:
        """A key that is equal where two people's items are one record."""
        ...


class Redaction:
    """One dataset without one person, or without some of their records.

    ``records`` are ids of their items and queries; none for the whole person. Records that are
    others' as well (a co-authored paper) go there, too, unless ``keep_joint``. ``texts``: what they
    wrote in records that are in no row any more, and may be quoted still.
    """

    def __init__(
        self,
        dataset: Dataset,
        person: str,
        task: AuthoredText,
        *,
        records: Collection[str] = (),
        texts: Collection[str] = (),
        keep_joint: bool = False,
        known: SearchPatterns | None = None,
    ) -> None:
        self.dataset, self.person, self.task = dataset, person, task
        self.records = frozenset(records)
        own = dataset.read_history(person) if person in dataset else History(person, ())
        gone = [i for i in (*own.items, *own.queries) if not records or i.id in self.records]
        self.removed_count = len(gone)
        """Rows of theirs that go."""
        self._joint_keys: set[str | None] = set()
        if not keep_joint:
            self._joint_keys = {task.record_key(i) for i in gone} - {None}
        said = [text for i in gone for text in self._iter_own_texts(i, quoted=not records)]
        said += texts
        self._own_lines = {
            normalize_text(line) for text in said for line in (text, *text.splitlines())
        } - {""}
        self._own_patterns = SearchPatterns(split_into_patterns(said))
        self.unique_patterns = self._own_patterns.excluding(
            set(self._own_patterns.find_in_texts(self._iter_other_texts()))
        )
        """Their texts that nobody else wrote."""
        known = known or SearchPatterns()
        self._quoted_patterns = SearchPatterns(self.unique_patterns.texts | known.texts)
        self.affected_people = frozenset(
            h.person for h in dataset if h.person != person and self.redact_history(h) != h
        )
        """Others in whose histories their words stood."""
        self.quotes_removed = (
            bool(self.records) and not self.removed_count and self.redact_history(own) != own
        )
        """Whether no row of theirs goes, and another one quotes what does."""

    @property
    def is_needed(self) -> bool:
        """Whether the dataset holds anything of what is to go."""
        here = self.person in self.dataset
        return bool(self.removed_count or self.affected_people or self.quotes_removed) or (
            here and not self.records
        )

    def redact_history(self, history: History) -> History:
        """A history without it; the person's own as well, where only records go."""
        mine = history.person == self.person
        every = (*history.items, *history.queries)
        shown = (text for i in every if i.voices for text in i.fields.values())
        hot = bool(self._quoted_patterns.find_in_text("\x00".join(shown)))
        items = [
            self._redact_item(i, mine, hot) for i in history.items if not self._is_removed(i, mine)
        ]
        queries = [
            self._redact_item(q, mine, hot)
            for q in history.queries
            if not self._is_removed(q, mine)
        ]
        if len(items) + len(queries) < len(every):
            items, queries = _renumber_positions(items, queries)
        return History(history.person, tuple(items), tuple(queries))

    def iter_histories(self) -> Iterator[History]:
        """Everybody's who stays, sorted by person."""
        for history in self.dataset:
            if history.person == self.person and not self.records:
                continue
            touched = history.person == self.person or history.person in self.affected_people
            yield self.redact_history(history) if touched else history

    def _is_removed(self, item: Interaction, mine: bool) -> bool:
        if mine:
            return item.id in self.records
        return bool(self._joint_keys) and self.task.record_key(item) in self._joint_keys

    def _redact_item(self, item: Interaction, mine: bool, hot: bool) -> Interaction:
        """One item without their words; the same one where it holds none. ``hot``: the history may
        quote them."""
        if not item.voices and not mine:
            return item
        near = mine or self.person in item.voices

        def redact_line(line: str) -> str:
            own = line.startswith(OWN_LINE_PREFIX)
            if near and not self.records:
                goes = not own
            else:
                goes = near and own == mine and self._repeats_own_text(line)
            goes = goes or (hot and own == mine and bool(self._quoted_patterns.find_in_text(line)))
            return REDACTED_TEXT if goes and line.strip() else line

        fields = dict(item.fields)
        for name in fields.keys() - {self.task.target_field} if item.voices else ():
            fields[name] = "\n".join(map(redact_line, fields[name].split("\n")))
        voices = item.voices
        if not self.records:
            voices = tuple(v for v in voices if v != self.person)
        if fields == item.fields and voices == item.voices:
            return item
        return replace(item, fields=fields, voices=voices)

    def _repeats_own_text(self, line: str) -> bool:
        """Whether a line of a conversation is one of their texts, or the end of one."""
        said = normalize_text(line.removeprefix(OWN_LINE_PREFIX).removeprefix(OTHERS_LINE_PREFIX))
        if said in self._own_lines:
            return True
        return len(said) >= MIN_PATTERN_CHARS and any(
            text.endswith(said) for text in self._own_lines
        )

    def _iter_own_texts(self, item: Interaction, *, quoted: bool = True) -> Iterator[str]:
        """What somebody wrote in an item of theirs: all of it, where no others' words are in it.
        ``quoted``: also their earlier lines of the conversation."""
        for name, text in item.fields.items():
            if not item.voices or name == self.task.target_field:
                yield text
            elif quoted:
                lines = [line for line in text.splitlines() if line.startswith(OWN_LINE_PREFIX)]
                yield from (line.removeprefix(OWN_LINE_PREFIX) for line in lines)

    def _iter_other_texts(self) -> Iterator[str]:
        """What everybody else wrote, joint records that go left out; and their own that stay."""
        for history in self.dataset:
            mine = history.person == self.person
            if mine and not self.records:
                continue
            for item in (*history.items, *history.queries):
                if not self._is_removed(item, mine):  # their earlier lines may be just what goes
                    yield from self._iter_own_texts(item, quoted=not mine)


def _renumber_positions(
    items: list[Interaction], queries: list[Interaction]
) -> tuple[list[Interaction], list[Interaction]]:
    """Positions without gaps, in the same order: as in a source that never had the others."""
    order = sorted({i.position for i in (*items, *queries)})
    place = {position: n for n, position in enumerate(order)}
    return (
        [replace(i, position=place[i.position]) for i in items],
        [replace(q, position=place[q.position]) for q in queries],
    )
