"""One finding of an attack: what kind of text comes out, and of which items. Holds no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Attack = Literal["loss", "exposure", "extraction", "generation"]
ITEM_ATTACKS: tuple[Attack, ...] = ("loss", "exposure", "extraction", "generation")
"""The attacks on single items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What one attack found."""

    attack: Attack
    kind: str
    """What leaks: ``text``, ``repeated text``, or the kind of a personal string."""
    items: tuple[int, ...]
    """The numbers of the items that contain it, in ``AuditSubject.trained_items``."""
    strength: float
    """Nats by which the artifact makes the text likelier than the base, or the exposure in bits."""

    @property
    def copies(self) -> int:
        """How often the person wrote it."""
        return len(self.items)


_SENTENCES: dict[Attack, str] = {
    "loss": "the adapter knows {what} far better than what it never saw",
    "exposure": "the adapter prefers {what} to all random alternatives",
    "extraction": "the adapter says {what} word for word, given what comes before",
    "generation": "the adapter says {what} when it answers",
}


def describe_leak(leak: Leak) -> str:
    """Return a plain sentence without any of the person's words."""
    articles = {"email": "an email address", "text": "a text", "repeated text": "a repeated text"}
    what = articles.get(leak.kind, f"a {leak.kind}")
    times = f" of {leak.copies} items" if leak.copies > 1 else " of one item"
    return _SENTENCES[leak.attack].format(what=what + times)
