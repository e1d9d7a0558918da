"""What an audit attacks of one person: which items are risky, and where their risky texts are.

The choice is made on the texts alone, before any forward. It sees all trained items, so that a
sample cannot miss a text that is repeated, or one that contains a number, an address or a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerFast

from idiolect.audit.personal_strings import PersonalString, StringKind, find_personal_strings
from idiolect.audit.repeats import Place, RepeatedText, find_repeated_texts
from idiolect.audit.subject import AuditSubject
from idiolect.prompts.render import Example

MAX_RISKY_ITEMS = 60
"""Unsampled items that are attacked because their texts are risky; bounds the audit's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnString:
    """A number, an address or a name of the person, with all places where they wrote it."""

    kind: StringKind
    key: str
    text: str
    places: tuple[Place, ...]


class AuditPlan:
    """The items and texts of one person that the attacks examine."""

    def __init__(self, subject: AuditSubject, tokenizer: PreTrainedTokenizerFast) -> None:
        self.subject, self.tokenizer = subject, tokenizer
        self.answers = [_list_answer(example) for example in subject.trained_items]

    @cached_property
    def texts(self) -> list[str]:
        """The answer of each trained item as text."""
        return [str(self.tokenizer.decode(answer)) for answer in self.answers]

    @cached_property
    def repeated_texts(self) -> list[RepeatedText]:
        """The texts that occur in several answers, or several times in one."""
        return find_repeated_texts(self.answers)

    @cached_property
    def strings(self) -> list[OwnString]:
        """The numbers, addresses and names in the answers."""
        places: dict[tuple[StringKind, str], list[tuple[PersonalString, Place]]] = {}
        for item, text in enumerate(self.texts):
            for one in find_personal_strings(text):
                place = Place(item, *self.locate_span(item, one.start, one.end))
                places.setdefault((one.kind, one.key), []).append((one, place))
        return [
            OwnString(kind=kind, key=key, text=found[0][0].text, places=tuple(p for _, p in found))
            for (kind, key), found in places.items()
        ]

    @cached_property
    def traced_items(self) -> list[int]:
        """The numbers of the items that are attacked: the sample, and risky items outside it."""
        sampled = len(self.subject.members)
        places = [p for text in (*self.repeated_texts, *self.strings) for p in text.places]
        risky = sorted({place.item for place in places if place.item >= sampled})
        return [*range(sampled), *risky[:MAX_RISKY_ITEMS]]

    def name_text(self, item: int) -> tuple[str, tuple[int, ...]]:
        """Return what a text of an item counts as, and all items that contain it: a text that
        repeats is one text."""
        # The longest one comes first.
        for text in self.repeated_texts:
            items = tuple(sorted({place.item for place in text.places}))
            if item in items:
                return "repeated text", items
        return "text", (item,)

    def list_traced(self) -> list[Example]:
        """Return the items that are attacked, in the order of ``traced``."""
        trained = self.subject.trained_items
        return [trained[item] for item in self.traced_items]

    def locate_span(self, item: int, start: int, end: int) -> tuple[int, int]:
        """Return the tokens of an answer that cover its characters from ``start`` to ``end``."""
        answer = self.answers[item]
        # A prefix of the tokens is a prefix of the text, so its length is where a token begins.
        lengths = [len(str(self.tokenizer.decode(answer[:n]))) for n in range(len(answer) + 1)]
        first = max(n for n, length in enumerate(lengths) if length <= start)
        last = next((n for n, length in enumerate(lengths) if length >= end), len(answer))
        return min(first, len(answer) - 1), last


def _list_answer(example: Example) -> list[int]:
    """Return an answer's tokens without the token that ends it."""
    return list(example.ids[example.answer_start : -1])
