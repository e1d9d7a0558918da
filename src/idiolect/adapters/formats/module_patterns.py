"""Matches module paths against the forms of PEFT's ``target_modules``, in bounded time.

PEFT takes a single string as a regular expression. One from a foreign file can be made so that
matching it never ends, so it is not compiled. These parts are understood: names, ``.`` and
``\\.``, ``.*``, ``\\d+`` and groups of names such as ``(q_proj|v_proj)``. A string with other parts
is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PATTERN_CHARACTERS = 1_000
_PARTS = re.compile(
    r"(?P<any>\.\*\??)|(?P<digits>\\d\+|\[0-9\]\+)|\((?:\?:)?(?P<group>[\w\\.|-]+)\)"
    r"|(?P<text>(?:[\w-]|\\?\.(?!\*))+)",
    re.ASCII,
)
_ANY_CHARACTER = "\0"
"""Stands for an unescaped dot in a text; no module path contains it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a pattern."""

    kind: str
    """``any``, ``digits`` or ``texts``."""
    texts: tuple[str, ...] = ()
    """What a part of kind ``texts`` matches: one of these."""

    def advance(self, path: str, starts: set[int]) -> set[int]:
        """Return the positions in ``path`` after this part, if it starts at one of ``starts``."""
        if self.kind == "any":
            return set(range(min(starts), len(path) + 1)) if starts else set()
        if self.kind == "digits":
            return {
                end
                for start in starts
                for end in range(start + 1, len(path) + 1)
                if path[start:end].isdigit()
            }
        return {
            start + len(text) for start in starts for text in self.texts if _fits(text, path, start)
        }


@dataclass(frozen=True, slots=True)
class ModulePattern:
    """A pattern for whole module paths."""

    text: str
    parts: tuple[_Part, ...]

    def matches_path(self, path: str) -> bool:
        """Whether the pattern matches the whole path. Takes time proportional to the lengths."""
        ends = {0}
        for part in self.parts:
            ends = part.advance(path, ends)
        return len(path) in ends


def parse_module_pattern(text: str) -> ModulePattern | None:
    """Parse a pattern; return ``None`` if it is too long or has a part that is not understood."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        return None
    body, parts, at = text.removeprefix("^").removesuffix("$"), list[_Part](), 0
    while at < len(body):
        found = _PARTS.match(body, at)
        if found is None:
            return None
        if found["group"] or found["text"]:
            texts = tuple(map(_unescape, (found["group"] or found["text"]).split("|")))
            if not all(texts) or any("\\" in one for one in texts):
                return None
            parts.append(_Part("texts", texts))
        else:
            parts.append(_Part("any" if found["any"] else "digits"))
        at = found.end()
    return ModulePattern(text, tuple(parts))


def _unescape(text: str) -> str:
    """Return the text with ``_ANY_CHARACTER`` for a dot, and with a dot for ``\\.``."""
    return text.replace(".", _ANY_CHARACTER).replace(f"\\{_ANY_CHARACTER}", ".")


def _fits(text: str, path: str, start: int) -> bool:
    """Whether ``path`` has the text at a position."""
    found = path[start : start + len(text)]
    return len(found) == len(text) and all(
        one in (other, _ANY_CHARACTER) for one, other in zip(text, found, strict=True)
    )
