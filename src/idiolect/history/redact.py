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
from idiolect.privacy.patterns import LEAST, Needles, pieces_of, plain

REMOVED = "[removed]"
"""What stands in the place of a line that is gone."""
OWN_LINE = "me:"
"""Lines of a conversation that are the person's own begin so (``importers.conversation``)."""
OTHERS_LINE = "them:"


class Authored(Protocol):
    """What a task says of whose words stand where."""

    @property
    def target_field(self) -> str:
        """The field that holds the person's own words, where others' stand in the rest."""
        ...

    @property
    def record(self) -> Callable[[Interaction], str | None]:
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
        task: Authored,
        *,
        records: Collection[str] = (),
        texts: Collection[str] = (),
        keep_joint: bool = False,
        known: Needles | None = None,
    ) -> None:
        self.dataset, self.person, self.task = dataset, person, task
        self.records = frozenset(records)
        own = dataset.history(person) if person in dataset else History(person, ())
        gone = [i for i in (*own.items, *own.queries) if not records or i.id in self.records]
        self.gone = len(gone)
        """Rows of theirs that go."""
        self._keys: set[str | None] = set()
        if not keep_joint:
            self._keys = {task.record(i) for i in gone} - {None}
        said = [text for i in gone for text in self._own_texts(i, quoted=not records)]
        said += texts
        self._lines = {plain(line) for text in said for line in (text, *text.splitlines())} - {""}
        self._needles = Needles(pieces_of(said))
        self.unique = self._needles.but(set(self._needles.in_texts(self._others())))
        """Their texts that nobody else wrote."""
        known = known or Needles()
        self._quoted = Needles(self.unique.texts | known.texts)
        self.changed = frozenset(
            h.person for h in dataset if h.person != person and self.of(h) != h
        )
        """Others in whose histories their words stood."""
        self.quoted = bool(self.records) and not self.gone and self.of(own) != own
        """Whether no row of theirs goes, and another one quotes what does."""

    @property
    def any(self) -> bool:
        """Whether the dataset holds anything of what is to go."""
        here = self.person in self.dataset
        return bool(self.gone or self.changed or self.quoted) or (here and not self.records)

    def of(self, history: History) -> History:
        """A history without it; the person's own as well, where only records go."""
        mine = history.person == self.person
        every = (*history.items, *history.queries)
        shown = (text for i in every if i.voices for text in i.fields.values())
        hot = bool(self._quoted.in_text("\x00".join(shown)))
        items = [self._redacted(i, mine, hot) for i in history.items if not self._goes(i, mine)]
        queries = [self._redacted(q, mine, hot) for q in history.queries if not self._goes(q, mine)]
        if len(items) + len(queries) < len(every):
            items, queries = _numbered(items, queries)
        return History(history.person, tuple(items), tuple(queries))

    def histories(self) -> Iterator[History]:
        """Everybody's who stays, sorted by person."""
        for history in self.dataset:
            if history.person == self.person and not self.records:
                continue
            touched = history.person == self.person or history.person in self.changed
            yield self.of(history) if touched else history

    def _goes(self, item: Interaction, mine: bool) -> bool:
        if mine:
            return item.id in self.records
        return bool(self._keys) and self.task.record(item) in self._keys

    def _redacted(self, item: Interaction, mine: bool, hot: bool) -> Interaction:
        """One item without their words; the same one where it holds none. ``hot``: the history may
        quote them."""
        if not item.voices and not mine:
            return item
        near = mine or self.person in item.voices

        def kept(line: str) -> str:
            own = line.startswith(OWN_LINE)
            if near and not self.records:
                goes = not own
            else:
                goes = near and own == mine and self._repeats(line)
            goes = goes or (hot and own == mine and bool(self._quoted.in_text(line)))
            return REMOVED if goes and line.strip() else line

        fields = dict(item.fields)
        for name in fields.keys() - {self.task.target_field} if item.voices else ():
            fields[name] = "\n".join(map(kept, fields[name].split("\n")))
        voices = item.voices
        if not self.records:
            voices = tuple(v for v in voices if v != self.person)
        if fields == item.fields and voices == item.voices:
            return item
        return replace(item, fields=fields, voices=voices)

    def _repeats(self, line: str) -> bool:
        """Whether a line of a conversation is one of their texts, or the end of one."""
        said = plain(line.removeprefix(OWN_LINE).removeprefix(OTHERS_LINE))
        if said in self._lines:
            return True
        return len(said) >= LEAST and any(text.endswith(said) for text in self._lines)

    def _own_texts(self, item: Interaction, *, quoted: bool = True) -> Iterator[str]:
        """What somebody wrote in an item of theirs: all of it, where no others' words are in it.
        ``quoted``: also their earlier lines of the conversation."""
        for name, text in item.fields.items():
            if not item.voices or name == self.task.target_field:
                yield text
            elif quoted:
                lines = [line for line in text.splitlines() if line.startswith(OWN_LINE)]
                yield from (line.removeprefix(OWN_LINE) for line in lines)

    def _others(self) -> Iterator[str]:
        """What everybody else wrote, joint records that go left out; and their own that stay."""
        for history in self.dataset:
            mine = history.person == self.person
            if mine and not self.records:
                continue
            for item in (*history.items, *history.queries):
                if not self._goes(item, mine):  # their earlier lines may be just what goes
                    yield from self._own_texts(item, quoted=not mine)


def _numbered(
    items: list[Interaction], queries: list[Interaction]
) -> tuple[list[Interaction], list[Interaction]]:
    """Positions without gaps, in the same order: as in a source that never had the others."""
    order = sorted({i.position for i in (*items, *queries)})
    place = {position: n for n, position in enumerate(order)}
    return (
        [replace(i, position=place[i.position]) for i in items],
        [replace(q, position=place[q.position]) for q in queries],
    )
