"""Removes one person's words from a dataset.

Removes them from the person's own history and from other histories that quote them. Uses what the
task says about which field contains whose words. Only rows that contain the person's words change.
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
"""Replaces a removed line."""
OWN_LINE_PREFIX = "me:"
"""Prefix of conversation lines by the history's own person (see ``importers.conversation``)."""
OTHERS_LINE_PREFIX = "them:"


class AuthoredText(Protocol):
    """What a task says about which field contains whose words."""

    @property
    def target_field(self) -> str:
        """The field with the person's own words; other fields may contain others' words."""
        ...

    @property
    def record_key(self) -> Callable[[Interaction], str | None]:
        """Return a key that is equal for two people's items if they are the same record."""
        ...


class Redaction:
    """One dataset without one person, or without some of their records.

    ``records`` are ids of the person's items and queries to remove; empty for the whole person.
    Records that are others' as well (a co-authored paper) are removed there too, unless
    ``keep_joint``. ``texts`` are the person's words in records that no row contains any more but
    others may still quote. ``known`` are patterns of such texts from elsewhere.
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
        # What the person loses: their rows, and the keys of records they share with others.
        own = dataset.read_history(person) if person in dataset else History(person, ())
        removed = [i for i in (*own.items, *own.queries) if not records or i.id in self.records]
        self.removed_count = len(removed)
        """The number of the person's rows that are removed."""
        self._joint_keys: set[str | None] = set()
        if not keep_joint:
            self._joint_keys = {task.record_key(i) for i in removed} - {None}
        # The person's words, as whole lines (for exact matches) and as search patterns.
        own_texts = [text for i in removed for text in self._iter_own_texts(i, quoted=not records)]
        own_texts += texts
        self._own_lines = {
            normalize_text(line) for text in own_texts for line in (text, *text.splitlines())
        } - {""}
        self._own_patterns = SearchPatterns(split_into_patterns(own_texts))
        # Texts that other people wrote too are not evidence of the person.
        self.unique_patterns = self._own_patterns.exclude_texts(
            set(self._own_patterns.find_in_texts(self._iter_other_texts()))
        )
        """Patterns of the person's texts that no other person wrote."""
        # Dry run over the dataset: which other histories change.
        known = known or SearchPatterns()
        self._quoted_patterns = SearchPatterns(self.unique_patterns.texts | known.texts)
        self.affected_people = frozenset(
            h.person for h in dataset if h.person != person and self.redact_history(h) != h
        )
        """Other people whose histories contain the person's words or joint records."""
        self.quotes_removed = (
            bool(self.records) and not self.removed_count and self.redact_history(own) != own
        )
        """Whether the person's own history changes only because one of its rows quotes a removed
        record."""

    @property
    def is_needed(self) -> bool:
        """Whether the dataset contains anything that must be removed."""
        is_present = self.person in self.dataset
        return bool(self.removed_count or self.affected_people or self.quotes_removed) or (
            is_present and not self.records
        )

    def redact_history(self, history: History) -> History:
        """Return a history without the removed words; also the person's own if only records are
        removed."""
        is_own = history.person == self.person
        interactions = (*history.items, *history.queries)
        # One search over the whole history saves searching each line of most histories.
        quoted_texts = (text for i in interactions if i.voices for text in i.fields.values())
        may_quote = bool(self._quoted_patterns.find_in_text("\x00".join(quoted_texts)))
        items = [
            self._redact_item(i, is_own, may_quote)
            for i in history.items
            if not self._is_removed(i, is_own)
        ]
        queries = [
            self._redact_item(q, is_own, may_quote)
            for q in history.queries
            if not self._is_removed(q, is_own)
        ]
        if len(items) + len(queries) < len(interactions):
            items, queries = _renumber_positions(items, queries)
        return History(history.person, tuple(items), tuple(queries))

    def iter_histories(self) -> Iterator[History]:
        """Yield the remaining histories, sorted by person."""
        for history in self.dataset:
            # The whole person is removed.
            if history.person == self.person and not self.records:
                continue
            is_affected = history.person == self.person or history.person in self.affected_people
            yield self.redact_history(history) if is_affected else history

    def _is_removed(self, item: Interaction, is_own: bool) -> bool:
        """Whether the item itself is removed: one of the records, or a joint record."""
        if is_own:
            return item.id in self.records
        return bool(self._joint_keys) and self.task.record_key(item) in self._joint_keys

    def _redact_item(self, item: Interaction, is_own: bool, may_quote: bool) -> Interaction:
        """Return one item without the person's words, or the same object if it has none.

        ``is_own``: the item belongs to the person. ``may_quote``: the history may quote their
        unique texts.
        """
        if not item.voices and not is_own:
            return item
        may_be_own = is_own or self.person in item.voices

        def redact_line(line: str) -> str:
            # Remove a line by who said it. For a whole person in a group chat, it is not known
            # which "them:" line is theirs, so all of them are removed.
            is_own_line = line.startswith(OWN_LINE_PREFIX)
            if may_be_own and not self.records:
                is_removed = not is_own_line
            else:
                is_removed = may_be_own and is_own_line == is_own and self._repeats_own_text(line)
            is_removed = is_removed or (
                may_quote
                and is_own_line == is_own
                and bool(self._quoted_patterns.find_in_text(line))
            )
            return REDACTED_TEXT if is_removed and line.strip() else line

        fields = dict(item.fields)
        for name in fields.keys() - {self.task.target_field} if item.voices else ():
            fields[name] = "\n".join(map(redact_line, fields[name].split("\n")))
        # If only records are removed, other words of the person may remain in the item.
        voices = item.voices
        if not self.records:
            voices = tuple(v for v in voices if v != self.person)
        # Keep the identity of unchanged items: callers compare histories.
        if fields == item.fields and voices == item.voices:
            return item
        return replace(item, fields=fields, voices=voices)

    def _repeats_own_text(self, line: str) -> bool:
        """Whether a conversation line repeats one of the person's texts, or the end of one."""
        text = normalize_text(line.removeprefix(OWN_LINE_PREFIX).removeprefix(OTHERS_LINE_PREFIX))
        # A context is cut at its beginning, so a quote may be only the end of a text.
        if text in self._own_lines:
            return True
        return len(text) >= MIN_PATTERN_CHARS and any(
            own_line.endswith(text) for own_line in self._own_lines
        )

    def _iter_own_texts(self, item: Interaction, *, quoted: bool = True) -> Iterator[str]:
        """Yield what the person wrote in one of their items: all of it if it quotes no one else.

        ``quoted``: also their earlier lines of the conversation.
        """
        for name, text in item.fields.items():
            if not item.voices or name == self.task.target_field:
                yield text
            elif quoted:
                lines = [line for line in text.splitlines() if line.startswith(OWN_LINE_PREFIX)]
                yield from (line.removeprefix(OWN_LINE_PREFIX) for line in lines)

    def _iter_other_texts(self) -> Iterator[str]:
        """Yield what all other people wrote without joint records, and the person's remaining
        texts."""
        for history in self.dataset:
            is_own = history.person == self.person
            if is_own and not self.records:
                continue
            for item in (*history.items, *history.queries):
                # The person's earlier lines may repeat the removed records: leave them out.
                if not self._is_removed(item, is_own):
                    yield from self._iter_own_texts(item, quoted=not is_own)


def _renumber_positions(
    items: list[Interaction], queries: list[Interaction]
) -> tuple[list[Interaction], list[Interaction]]:
    """Renumber positions without gaps, in the same order, as if removed rows had never existed."""
    old_positions = sorted({i.position for i in (*items, *queries)})
    new_position = {position: n for n, position in enumerate(old_positions)}
    return (
        [replace(i, position=new_position[i.position]) for i in items],
        [replace(q, position=new_position[q.position]) for q in queries],
    )
