"""One thing a person wrote or chose, as a frozen value; knows no task and no file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One item of a history, or one query: named text fields at a place in time.

    ``time`` is in Unix seconds, ``None`` where the source has none; ``position`` is the place in
    the source and breaks ties (many real items share a timestamp). ``voices`` names *other* people
    whose words stand in the fields, e.g. the chat partner quoted as context.
    """

    id: str
    position: int
    fields: Mapping[str, str]
    time: float | None = None
    voices: tuple[str, ...] = ()

    @property
    def sort_key(self) -> tuple[float, int]:
        """The sort key (time, source position); items without a time come first."""
        return (float("-inf") if self.time is None else self.time, self.position)

    def compute_fingerprint(self) -> str:
        """A hash of the content, equal for the same record wherever it stands (32 hex digits)."""
        text = json.dumps(dict(sorted(self.fields.items())), ensure_ascii=False)
        return hashlib.sha256(text.casefold().encode()).hexdigest()[:32]
