"""Turns conversations into items of the *reply* task. Independent of file formats.

A turn is the sequence of messages that one sender wrote without a message by another in between.
Text that a message quotes or forwards is not the sender's: it becomes context only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from idiolect.history.voices import (
    OTHERS_LINE_PREFIX,
    OWN_LINE_PREFIX,
    is_same_name,
    make_line_prefix,
    make_quote_prefix,
    split_lines,
)
from idiolect.importers.collector import RawRecord

CONTEXT_TURNS = 3
CONTEXT_WORDS = 60
"""The context of an answer: at most ``CONTEXT_TURNS`` turns and ``CONTEXT_WORDS`` words."""
_MIN_MATCHED_CHARS = 8
"""A quote without a name that is shorter is not looked for inside of earlier messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message; ``where`` is its place in the file."""

    sender: str
    """Tells speakers apart; two speakers of one role have different senders."""
    text: str
    where: str
    time: float | None = None
    voice: str = ""
    """The person whose words these are, if another person's context quotes them; empty if the
    sender is not a person (an assistant)."""
    label: str = ""
    """How context lines name the sender if there are several; the voice or the sender if empty."""
    forwarded_from: str = ""
    """The person whose words the whole message repeats, if the file says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """One turn that answers another sender's turn, with its context."""

    sender: str
    record: RawRecord
    has_quotes: bool = False
    """Whether words that the turn quotes or forwards were left out of the reply."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """Words of one voice in a message. ``is_quoted``: the sender repeats them."""

    words: str
    voice: str
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class _ContextLine:
    """One line of a context: its words, and the person who is quoted (or empty)."""

    prefix: str
    words: list[str]
    voice: str


Turn = tuple[tuple[ChatMessage, tuple[_Statement, ...]], ...]


def iter_replies(messages: Iterable[ChatMessage], prefix: str) -> Iterator[ReplyRecord]:
    """Yield every turn but the first that says something, with fields ``context`` and ``reply``.

    Context has one line per turn, latest last, each starting with ``me:`` or ``them:``, or with
    ``them (NAME):`` if there are several others. Quoted and forwarded words have lines of their
    own, which start with ``quoted:`` or ``quoted (NAME):``. A reply has one line per message. Ids
    are ``PREFIX:N`` with N the position of the turn in the conversation. The time is that of the
    turn's first message.
    """
    # Group consecutive messages by sender, after finding out whose words they are.
    parsed = _attribute_words([*messages])
    turns: list[Turn] = [tuple(turn) for _, turn in groupby(parsed, key=lambda m: m[0].sender)]
    senders = {message.sender for message, _ in parsed}
    for index in range(1, len(turns)):
        first = turns[index][0][0]
        statements = [statement for _, said in turns[index] for statement in said]
        reply = "\n".join(s.words for s in statements if not s.is_quoted)
        if not reply:
            continue
        is_group = len(senders - {first.sender}) > 1
        lines = [
            line
            for turn in turns[max(0, index - CONTEXT_TURNS) : index]
            for line in _render_turn(turn, first, is_group)
        ]
        # What the reply itself quotes is what it answers.
        quotes = [_render_quote(s, first) for s in statements if s.is_quoted]
        shown = _fit_lines([*lines, *quotes])
        if not shown:
            continue
        voices = {line.voice for line in shown} - {"", first.voice}
        yield ReplyRecord(
            sender=first.sender,
            record=RawRecord(
                id=f"{prefix}:{index}",
                fields={
                    "context": "\n".join(f"{line.prefix} {' '.join(line.words)}" for line in shown),
                    "reply": reply,
                },
                time=first.time,
                voices=tuple(sorted(voices)),
                where=first.where,
            ),
            has_quotes=bool(quotes),
        )


def _attribute_words(
    messages: Sequence[ChatMessage],
) -> list[tuple[ChatMessage, tuple[_Statement, ...]]]:
    """Return each message with its statements: the sender's own words, and words they repeat."""
    out: list[tuple[ChatMessage, tuple[_Statement, ...]]] = []
    voices = [*dict.fromkeys(m.voice for m in messages if m.voice)]
    for index, message in enumerate(messages):
        if message.forwarded_from:
            said = [_Statement(message.text.strip(), message.forwarded_from, is_quoted=True)]
        else:
            said = list[_Statement]()
            # Consecutive lines of one voice are one statement.
            lines = [line for line in split_lines(message.text) if line.text or not line.is_quoted]
            for (quoted, name), same in groupby(lines, key=lambda x: (x.is_quoted, x.speaker)):
                text = "\n".join(line.text if quoted else line.raw for line in same).strip()
                if text and quoted:
                    words, voice = _resolve_quote(text, name, messages[:index], voices)
                    said.append(_Statement(words, voice, is_quoted=True))
                elif text:
                    said.append(_Statement(text, message.voice))
        out.append((message, tuple(said)))
    return out


def _resolve_quote(
    text: str, name: str, earlier: Sequence[ChatMessage], voices: Sequence[str]
) -> tuple[str, str]:
    """Return quoted words and the person whose words they are; empty if that is not known."""
    for voice in voices:
        if name and is_same_name(name, voice):
            return text, voice
        # "> Runa: me! under the third stone"
        if not name and text.startswith(f"{voice}:"):
            return text.removeprefix(f"{voice}:").strip(), voice
    if name:
        return text, name
    # Without a name, the latest earlier message with these words tells.
    wanted = " ".join(text.split()).casefold()
    for message in reversed(earlier):
        said = " ".join(message.text.split()).casefold()
        if wanted == said or (len(wanted) >= _MIN_MATCHED_CHARS and wanted in said):
            return text, message.forwarded_from or message.voice
    return text, ""


def _render_turn(turn: Turn, viewer: ChatMessage, is_group: bool) -> Iterator[_ContextLine]:
    """Yield the context lines of a turn as the answering sender sees it."""
    sender = turn[0][0]
    if sender.sender == viewer.sender:
        prefix, voice = OWN_LINE_PREFIX, ""
    else:
        label = sender.label or sender.voice or sender.sender
        prefix = make_line_prefix(label) if is_group else OTHERS_LINE_PREFIX
        voice = sender.voice
    statements = [statement for _, said in turn for statement in said]
    for quoted, same in groupby(statements, key=lambda s: (s.is_quoted, s.is_quoted and s.voice)):
        words = [word for statement in same for word in statement.words.split()]
        if not words:
            continue
        if quoted[0]:
            yield _render_quote(_Statement(" ".join(words), str(quoted[1] or "")), viewer)
        else:
            yield _ContextLine(prefix, words, voice)


def _render_quote(statement: _Statement, viewer: ChatMessage) -> _ContextLine:
    """Return quoted words as a context line."""
    voice = statement.voice
    is_own = bool(voice) and voice == viewer.voice
    prefix = OWN_LINE_PREFIX if is_own else make_quote_prefix(voice)
    return _ContextLine(prefix, statement.words.split(), "" if is_own else voice)


def _fit_lines(lines: Sequence[_ContextLine]) -> list[_ContextLine]:
    """Return the last lines that fit into the word limit.

    The very last line is always included, cut to its last words if it is too long.
    """
    words_left = CONTEXT_WORDS
    shown: list[_ContextLine] = []
    # From the latest line backward, until the words do not fit.
    for line in reversed(lines):
        if shown and len(line.words) > words_left:
            break
        shown.insert(0, _ContextLine(line.prefix, line.words[-CONTEXT_WORDS:], line.voice))
        words_left -= len(line.words)
    return shown


def is_out_of_order(messages: Iterable[ChatMessage]) -> bool:
    """Whether a message has an earlier time than the message before it."""
    times = [m.time for m in messages if m.time is not None]
    return any(a > b for a, b in pairwise(times))
