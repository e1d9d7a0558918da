"""Removes one person's words from a dataset.

Removes them from the person's own history and from other histories that quote them. Uses what the
task says about which field contains whose words. Only rows that contain the person's words change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Protocol

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.voices import (
    OWN_LINE_PREFIX,
    TextLine,
    find_spoken_text,
    has_quotes,
    is_same_name,
    names_speaker,
    split_lines,
    strip_speaker,
)
from idiolect.privacy.search.patterns import (
    MIN_PATTERN_CHARS,
    SearchPatterns,
    normalize_text,
    split_into_patterns,
    split_short_texts,
)

REDACTED_TEXT = "[removed]"
"""Replaces a removed line."""
_MIN_QUOTE_CHARS = 8
"""A quoted line that begins with one of the person's lines of this length is theirs."""
_MIN_NUMERIC_MENTION = 6
"""An id of fewer digits is not looked for behind an ``@``: it may be any number."""


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

    ``records`` are ids of the person's items and queries to remove; empty for the whole person. If
    ``contents`` are given, a record counts only if the hash of its content is one of them: another
    dataset can use the same id for another record.
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
        contents: Collection[str] | None = None,
        keep_joint: bool = False,
        known: SearchPatterns | None = None,
    ) -> None:
        self.dataset, self.person, self.task = dataset, person, task
        self.is_whole_person = not records
        self.wanted_records = frozenset(records)
        """The ids as they were given."""
        self._forward_mark = re.compile(
            rf"\bforwarded (?:message )?from {re.escape(person)}(?!\w)", re.IGNORECASE
        )
        # What the person loses: their rows, and the keys of records they share with others.
        own = dataset.read_history(person) if person in dataset else History(person, ())
        rows = (*own.items, *own.queries)
        self.records = frozenset(
            i.id
            for i in rows
            if i.id in records and (contents is None or i.compute_fingerprint() in contents)
        )
        """Ids of the records that are removed; empty for the whole person."""
        removed = [i for i in rows if self.is_whole_person or i.id in self.records]
        self.removed_contents = frozenset(i.compute_fingerprint() for i in removed)
        """Hashes of the content of the person's rows that are removed."""
        self.removed_count = len(removed)
        """The number of the person's rows that are removed."""
        self._joint_keys: set[str | None] = set()
        if not keep_joint:
            self._joint_keys = {task.record_key(i) for i in removed} - {None}
        # The person's words, as whole lines (for exact matches) and as search patterns.
        own_texts = [text for i in removed for text in self._iter_own_texts(i, quoted=not records)]
        own_texts += texts
        # What others' conversations quote of the person is the person's as well.
        if not records:
            own_texts += (text for h in dataset for text in self._iter_spoken_texts(h))
        self._own_lines = {
            normalize_text(line) for text in own_texts for line in (text, *text.splitlines())
        } - {""}
        self._own_patterns = SearchPatterns(split_into_patterns(own_texts))
        known = known or SearchPatterns()
        own_short, self.unsearchable_count = split_short_texts(own_texts)
        """The number of the person's texts that are too short to be told apart from others'."""
        # Texts that other people wrote too are not evidence of the person.
        self.others_short = set[str]()
        """Short texts, of the person or known, that other people wrote here."""
        other_texts = self._collect_short(self._iter_other_texts(), own_short | known.short)
        common = set(self._own_patterns.find_in_texts(other_texts))
        self.unique_patterns = SearchPatterns(
            self._own_patterns.texts - common, short=own_short - self.others_short
        )
        """Patterns of the person's texts that no other person wrote."""
        # Dry run over the dataset: which other histories change.
        self._quoted_patterns = SearchPatterns(self.unique_patterns.texts | known.texts)
        self.affected_people = frozenset(
            h.person for h in dataset if h.person != person and self.redact_history(h) != h
        )
        """Other people whose histories contain the person's words or joint records."""
        self.quotes_removed = (
            not self.is_whole_person and not self.removed_count and self.redact_history(own) != own
        )
        """Whether the person's own history changes only because one of its rows quotes a removed
        record."""

    def _collect_short(self, texts: Iterator[str], wanted: frozenset[str]) -> Iterator[str]:
        """Pass on texts, and note which of the wanted short texts are among them."""
        for text in texts:
            if wanted:
                lines = {normalize_text(line) for line in (text, *text.splitlines())}
                self.others_short |= wanted & lines
            yield text

    @property
    def is_needed(self) -> bool:
        """Whether the dataset contains anything that must be removed."""
        is_present = self.person in self.dataset
        return bool(self.removed_count or self.affected_people or self.quotes_removed) or (
            is_present and self.is_whole_person
        )

    def redact_history(self, history: History) -> History:
        """Return a history without the removed words; also the person's own if only records are
        removed."""
        is_own = history.person == self.person
        interactions = (*history.items, *history.queries)
        # One search over the whole history saves searching each line of most histories.
        quoted_texts = (
            text for i in interactions for text in i.fields.values() if i.voices or has_quotes(text)
        )
        may_quote = bool(self._quoted_patterns.find_in_text("\x00".join(quoted_texts)))

        def redact_all(rows: tuple[Interaction, ...]) -> list[Interaction]:
            kept = [row for row in rows if not self._is_removed(row, is_own)]
            redacted = [self._redact_item(row, is_own, may_quote) for row in kept]
            return [row for row in redacted if row is not None]

        items, queries = redact_all(history.items), redact_all(history.queries)
        if len(items) + len(queries) < len(interactions):
            items, queries = _renumber_positions(items, queries)
        return History(history.person, tuple(items), tuple(queries))

    def iter_histories(self) -> Iterator[History]:
        """Yield the remaining histories, sorted by person."""
        for history in self.dataset:
            # The whole person is removed.
            if history.person == self.person and self.is_whole_person:
                continue
            is_affected = history.person == self.person or history.person in self.affected_people
            yield self.redact_history(history) if is_affected else history

    def _is_removed(self, item: Interaction, is_own: bool) -> bool:
        """Whether the item itself is removed: one of the records, or a joint record."""
        if is_own:
            return item.id in self.records
        return bool(self._joint_keys) and self.task.record_key(item) in self._joint_keys

    def _redact_item(self, item: Interaction, is_own: bool, may_quote: bool) -> Interaction | None:
        """Return one item without the person's words, or the same object if it has none.

        ``is_own``: the item belongs to the person. ``may_quote``: the history may quote their
        unique texts. Returns ``None`` if the item's answer was nothing but their words.
        """
        target = self.task.target_field
        fields = dict(item.fields)
        for name, text in item.fields.items():
            if name != target and item.voices:
                fields[name] = "\n".join(
                    REDACTED_TEXT if self._is_removed_line(line, item, is_own, may_quote) else line
                    for line in text.split("\n")
                )
            # Any field can quote or forward the person's words, also the answer.
            if has_quotes(text):
                fields[name] = self._redact_quotes(fields[name], is_answer=name == target)
            if not is_own and self.is_whole_person:
                fields[name] = self._redact_mentions(fields[name])
        if item.fields.get(target, "").strip() and not fields[target].strip():
            return None
        # If only records are removed, other words of the person may remain in the item.
        voices = item.voices
        if self.is_whole_person:
            voices = tuple(v for v in voices if v != self.person)
        # Keep the identity of unchanged items: callers compare histories.
        if fields == item.fields and voices == item.voices:
            return item
        return replace(item, fields=fields, voices=voices)

    def _is_removed_line(self, line: str, item: Interaction, is_own: bool, may_quote: bool) -> bool:
        """Whether a line of a conversation is removed, by who said it or by what it says."""
        if not line.strip():
            return False
        may_be_own = is_own or self.person in item.voices
        is_own_line = line.startswith(OWN_LINE_PREFIX)
        if not self.is_whole_person:
            is_removed = may_be_own and is_own_line == is_own and self._repeats_own_text(line)
        elif names_speaker(line):
            is_removed = find_spoken_text(line, self.person, is_only_other=False) is not None
        else:
            # A line without a name may be theirs, unless it is the history's own person's.
            is_removed = may_be_own and not is_own_line
        return is_removed or (
            may_quote and is_own_line == is_own and bool(self._quoted_patterns.find_in_text(line))
        )

    def _redact_quotes(self, text: str, *, is_answer: bool) -> str:
        """Return a text without the lines that quote or forward the person's words.

        In an answer, such lines are left out: no one is to learn a mark in their place.
        """
        lines, out = text.split("\n"), list[str]()
        # A forwarded message spans lines; in a conversation, each line is a message of its own.
        for line, parsed in zip(lines, split_lines(text), strict=True):
            is_theirs = any(map(self._is_their_quote, (parsed, *split_lines(strip_speaker(line)))))
            if not is_theirs:
                out.append(line)
            elif not is_answer:
                out.append(REDACTED_TEXT)
        return "\n".join(out)

    def _is_their_quote(self, line: TextLine) -> bool:
        """Whether a line quotes the person's words."""
        is_whole = self.is_whole_person
        if is_whole and self._forward_mark.search(line.raw):
            return True
        if not line.is_quoted:
            return False
        if is_whole and line.speaker:
            return is_same_name(line.speaker, self.person)
        text = normalize_text(line.text)
        return (
            (is_whole and line.text.startswith(f"{self.person}:"))
            or self._repeats_own_text(line.text)
            or any(text.startswith(own) for own in self._own_lines if len(own) >= _MIN_QUOTE_CHARS)
            or bool(self._quoted_patterns.find_in_text(line.text))
        )

    def _redact_mentions(self, text: str) -> str:
        """Return a text in which ``@ID`` of the person is replaced."""
        if f"@{self.person}" not in text or (
            self.person.isdigit() and len(self.person) < _MIN_NUMERIC_MENTION
        ):
            return text
        return re.sub(rf"@{re.escape(self.person)}(?!\w)", f"@{REDACTED_TEXT}", text)

    def _repeats_own_text(self, line: str) -> bool:
        """Whether a conversation line repeats one of the person's texts, or the end of one."""
        text = normalize_text(strip_speaker(line))
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
                yield _strip_quotes(text)
            elif quoted:
                lines = [line for line in text.splitlines() if line.startswith(OWN_LINE_PREFIX)]
                yield from (_strip_quotes(strip_speaker(line)) for line in lines)

    def _iter_spoken_texts(self, history: History) -> Iterator[str]:
        """Yield the person's words in the conversations of another person."""
        if history.person == self.person:
            return
        for item in (*history.items, *history.queries):
            if self.person not in item.voices:
                continue
            for name, text in item.fields.items():
                for line in text.split("\n") if name != self.task.target_field else ():
                    said = find_spoken_text(
                        line, self.person, is_only_other=item.voices == (self.person,)
                    )
                    if said:
                        yield _strip_quotes(said)

    def _iter_other_texts(self) -> Iterator[str]:
        """Yield what all other people wrote without joint records, and the person's remaining
        texts."""
        for history in self.dataset:
            is_own = history.person == self.person
            if is_own and self.is_whole_person:
                continue
            for item in (*history.items, *history.queries):
                # The person's earlier lines may repeat the removed records: leave them out.
                if not self._is_removed(item, is_own):
                    yield from self._iter_own_texts(item, quoted=not is_own)


def _strip_quotes(text: str) -> str:
    """Return a text without what it quotes or forwards; most texts do neither."""
    if not has_quotes(text):
        return text
    return "\n".join(line.raw for line in split_lines(text) if not line.is_quoted)


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
