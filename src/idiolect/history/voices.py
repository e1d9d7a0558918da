"""Tells whose words the lines of a text are: speakers of a conversation, quotes, forwarded text.

A conversation is a text with one line per turn. A line begins with ``me:`` for the history's own
person, with ``them:`` for the only other speaker, with ``them (NAME):`` for one of several, and
with ``quoted (NAME):`` or ``quoted:`` for words that another speaker repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

OWN_LINE_PREFIX = "me:"
OTHERS_LINE_PREFIX = "them:"
_NAMED_PREFIX, _QUOTED_NAMED_PREFIX, _QUOTED_PREFIX = "them (", "quoted (", "quoted:"
_FORWARD_MARK = re.compile(
    r"[\s\-\u2013\u2014*\[>]*(?:begin\s+)?(?:forwarded|fwd|fw)(?:\s+message)?"
    r"(?:\s+from\s+(?P<name>[^:\]\n]{1,80}?))?\s*[\]\-\u2013\u2014*]*(?:\s*:\s*(?P<rest>.*))?",
    re.IGNORECASE,
)
"""The line above forwarded text, as messengers and mail programs write it."""
_ORIGINAL_MARK = re.compile(r"-{2,}\s*original message\s*-{2,}", re.IGNORECASE)
_MAIL_HEADER = re.compile(r"(?P<key>from|date|sent|to|cc|subject):\s*(?P<value>.*)", re.IGNORECASE)
_WROTE_MARK = re.compile(
    r"(?:on\s.{0,120}?,\s*)?(?P<name>[^:>,]{1,60}?)\s+(?:wrote|writes|said)\s*:", re.IGNORECASE
)
"""The line above a quote: ``On Monday, Runa wrote:``."""
_QUOTE_MARK = re.compile(r"(?:>\s*)*>(?:\s+(?=\S)|(?=[^\W\d_]))")
"""The beginning of a quoted line; emoticons such as ``>.<`` and ``>:(`` are none."""
_MAIL_ADDRESS = re.compile(r"\s*<[^>]*>\s*")
_MAY_QUOTE = re.compile(r">|forwarded|fwd|\bfw\b|original message", re.IGNORECASE)
"""What every quoted or forwarded text contains; most texts do not, and need no parsing."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of a text."""

    raw: str
    """The unchanged line."""
    text: str
    """The line without quotation marks; empty for a line that only introduces a quote."""
    is_quoted: bool = False
    """Whether these are words that the writer of the text repeats."""
    speaker: str = ""
    """The name of the person whose words these are, if the text says so."""


def clean_name(name: str) -> str:
    """Return a name as the lines of a conversation show it: in one line, with single spaces."""
    return " ".join(name.split())


def make_line_prefix(name: str) -> str:
    """Return the prefix of the lines of one of several other speakers."""
    return f"{_NAMED_PREFIX}{clean_name(name)}):"


def make_quote_prefix(name: str) -> str:
    """Return the prefix of quoted words; ``name`` is empty if it is not known whose they are."""
    return f"{_QUOTED_NAMED_PREFIX}{clean_name(name)}):" if name else _QUOTED_PREFIX


def is_others_line(line: str) -> bool:
    """Whether a line of a conversation holds the words of another person."""
    return line.startswith(
        (OTHERS_LINE_PREFIX, _NAMED_PREFIX, _QUOTED_NAMED_PREFIX, _QUOTED_PREFIX)
    )


def names_speaker(line: str) -> bool:
    """Whether a line of a conversation says which of the other people speaks."""
    return line.startswith((_NAMED_PREFIX, _QUOTED_NAMED_PREFIX))


def strip_speaker(line: str) -> str:
    """Return a line of a conversation without its prefix."""
    if line.startswith((_NAMED_PREFIX, _QUOTED_NAMED_PREFIX)):
        return line.partition("):")[2].strip()
    for prefix in (OWN_LINE_PREFIX, OTHERS_LINE_PREFIX, _QUOTED_PREFIX):
        if line.startswith(prefix):
            return line.removeprefix(prefix).strip()
    return line.strip()


def find_spoken_text(line: str, person: str, *, is_only_other: bool) -> str | None:
    """Return a person's words in a line of another person's context, ``None`` if it has none.

    ``is_only_other``: no one but this person and the history's own person speaks in it.
    """
    for prefix in (make_line_prefix(person), make_quote_prefix(person)):
        if line.startswith(prefix):
            return line.removeprefix(prefix).strip()
    if is_only_other and line.startswith(OTHERS_LINE_PREFIX):
        return line.removeprefix(OTHERS_LINE_PREFIX).strip()
    return None


def has_quotes(text: str) -> bool:
    """Whether a text may contain quoted or forwarded text (a fast check)."""
    return bool(_MAY_QUOTE.search(text))


def is_same_name(one: str, other: str) -> bool:
    """Whether two names are equal, apart from case and spaces."""
    return clean_name(one).casefold() == clean_name(other).casefold()


def split_lines(text: str) -> tuple[TextLine, ...]:
    """Return the lines of a message, each with whether it is quoted, and whose words it is.

    Lines that begin with ``>`` are quoted; a line like ``Runa wrote:`` above them names the
    speaker. Text below ``Forwarded message from Runa`` is hers, up to a blank line.
    """
    lines = text.split("\n")
    if not has_quotes(text):
        return tuple(TextLine(line, line.strip()) for line in lines)
    return tuple(_parse_lines(lines))


def _parse_lines(lines: list[str]) -> Iterator[TextLine]:
    """Yield the parsed lines of a message; see ``split_lines``."""
    forwarder: str | None = None  # whose forwarded text this is; None outside of it
    has_begun, quoted_speaker = False, ""
    for index, line in enumerate(lines):
        bare = line.strip()
        mark = _FORWARD_MARK.fullmatch(bare) if bare else None
        if mark or _ORIGINAL_MARK.fullmatch(bare):
            # The mark may name the person, and may be followed by text in the same line.
            forwarder = clean_name((mark and mark["name"]) or "")
            rest = ((mark and mark["rest"]) or "").strip()
            has_begun = bool(rest)
            yield TextLine(line, rest, True, forwarder)
        elif forwarder is not None and not has_begun and (header := _MAIL_HEADER.fullmatch(bare)):
            # The head of a forwarded mail: From names the person.
            if header["key"].lower() == "from":
                forwarder = clean_name(_MAIL_ADDRESS.sub(" ", header["value"]))
            yield TextLine(line, "", True, forwarder)
        elif forwarder is not None and bare:
            has_begun = True
            yield TextLine(line, _QUOTE_MARK.sub("", bare, count=1), True, forwarder)
        elif mark := _QUOTE_MARK.match(bare):
            yield TextLine(line, bare[mark.end() :], True, quoted_speaker)
        elif (wrote := _WROTE_MARK.fullmatch(bare)) and _starts_quote(lines, index + 1):
            quoted_speaker = clean_name(wrote["name"])
            yield TextLine(line, "", True, quoted_speaker)
        else:
            # A blank line ends forwarded text, and any other line ends a quote.
            forwarder = None if has_begun else forwarder
            quoted_speaker = quoted_speaker if not bare else ""
            yield TextLine(line, bare)


def _starts_quote(lines: list[str], index: int) -> bool:
    """Whether the first line from ``index`` on that is not blank is quoted."""
    following = (line.strip() for line in lines[index:] if line.strip())
    return bool(_QUOTE_MARK.match(next(following, "")))
