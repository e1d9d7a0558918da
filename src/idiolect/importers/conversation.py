"""Turns conversations into items of the *reply* task. Independent of file formats.

A turn is the sequence of messages that one sender wrote without a message by another in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from idiolect.importers.collector import RawRecord

CONTEXT_TURNS = 3
CONTEXT_WORDS = 60
"""The context of an answer: at most ``CONTEXT_TURNS`` turns and ``CONTEXT_WORDS`` words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message; ``where`` is its place in the file."""

    sender: str
    text: str
    where: str
    time: float | None = None
    voice: str = ""
    """The person whose words these are, if another person's context quotes them; empty if the
    sender is not a person (an assistant)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """One turn that answers another sender's turn, with its context."""

    sender: str
    record: RawRecord


Turn = tuple[ChatMessage, ...]


def iter_replies(messages: Iterable[ChatMessage], prefix: str) -> Iterator[ReplyRecord]:
    """Yield every turn but the first, with fields ``context`` and ``reply``.

    Context has one line per turn, latest last, each starting with ``them:`` or ``me:``. A reply has
    one line per message. Ids are ``PREFIX:N`` with N the position of the turn in the conversation.
    The time is that of the turn's first message.
    """
    # Group consecutive messages by sender.
    turns = [tuple(turn) for _, turn in groupby(messages, key=lambda m: m.sender)]
    for index in range(1, len(turns)):
        first = turns[index][0]
        shown = _fit_context(turns[max(0, index - CONTEXT_TURNS) : index])
        # From the view of the answering sender: "me" for their own turns.
        lines = [
            f"{'me' if turn[0].sender == first.sender else 'them'}: {' '.join(words)}"
            for turn, words in shown
        ]
        # Other people who are quoted in the context, for erasure.
        voices = {turn[0].voice for turn, _ in shown if turn[0].sender != first.sender}
        yield ReplyRecord(
            sender=first.sender,
            record=RawRecord(
                id=f"{prefix}:{index}",
                fields={
                    "context": "\n".join(lines),
                    "reply": "\n".join(m.text.strip() for m in turns[index]),
                },
                time=first.time,
                voices=tuple(sorted(voices - {""})),
                where=first.where,
            ),
        )


def _fit_context(turns: list[Turn]) -> list[tuple[Turn, list[str]]]:
    """Return the last turns that fit into the word limit, with their words.

    The very last turn is always included, cut to its last words if it is too long.
    """
    words_left = CONTEXT_WORDS
    shown: list[tuple[Turn, list[str]]] = []
    # From the latest turn backward, until the words do not fit.
    for turn in reversed(turns):
        words = [word for message in turn for word in message.text.split()]
        if shown and len(words) > words_left:
            break
        shown.insert(0, (turn, words[-CONTEXT_WORDS:]))
        words_left -= len(words)
    return shown


def is_out_of_order(messages: Iterable[ChatMessage]) -> bool:
    """Whether a message has an earlier time than the message before it."""
    times = [m.time for m in messages if m.time is not None]
    return any(a > b for a, b in pairwise(times))
