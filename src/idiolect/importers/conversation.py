"""What a person answered in a conversation, as items of the *reply* task; knows no file format.

A turn is what one sender wrote without another's word in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from idiolect.importers.collector import RawRecord

CONTEXT_TURNS = 3
CONTEXT_WORDS = 60
"""What of the conversation stands before an answer: at most so many turns, and so many words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message; ``where`` is its place in the file."""

    sender: str
    text: str
    where: str
    time: float | None = None
    voice: str = ""
    """The sender as a person who is quoted; empty where it is none (an assistant)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """One turn that follows another sender's, and what stands before it."""

    sender: str
    record: RawRecord


Turn = tuple[ChatMessage, ...]


def iter_replies(messages: Iterable[ChatMessage], prefix: str) -> Iterator[ReplyRecord]:
    """Every turn but the first, with fields ``context`` and ``reply``.

    Context lines start with ``them:`` or ``me:``, a line a turn, the latest last; the messages of
    a reply stand one a line. Ids are ``PREFIX:N`` with N the turn's place in the conversation; the
    time is that of the turn's first message.
    """
    turns = [tuple(turn) for _, turn in groupby(messages, key=lambda m: m.sender)]
    for place in range(1, len(turns)):
        first = turns[place][0]
        shown = _fit_context(turns[max(0, place - CONTEXT_TURNS) : place])
        lines = [
            f"{'me' if turn[0].sender == first.sender else 'them'}: {' '.join(words)}"
            for turn, words in shown
        ]
        voices = {turn[0].voice for turn, _ in shown if turn[0].sender != first.sender}
        yield ReplyRecord(
            sender=first.sender,
            record=RawRecord(
                id=f"{prefix}:{place}",
                fields={
                    "context": "\n".join(lines),
                    "reply": "\n".join(m.text.strip() for m in turns[place]),
                },
                time=first.time,
                voices=tuple(sorted(voices - {""})),
                where=first.where,
            ),
        )


def _fit_context(turns: list[Turn]) -> list[tuple[Turn, list[str]]]:
    """The last turns that fit with their words; the very last always, its last words only."""
    room = CONTEXT_WORDS
    shown: list[tuple[Turn, list[str]]] = []
    for turn in reversed(turns):
        words = [word for message in turn for word in message.text.split()]
        if shown and len(words) > room:
            break
        shown.insert(0, (turn, words[-CONTEXT_WORDS:]))
        room -= len(words)
    return shown


def is_out_of_order(messages: Iterable[ChatMessage]) -> bool:
    """Whether a message has an earlier time than the one before it."""
    times = [m.time for m in messages if m.time is not None]
    return any(a > b for a, b in pairwise(times))
