"""One thing that a person wrote or chose, as a frozen value. Independent of task and format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One item of a history, or one query: named text fields with a time.

    ``time`` is in Unix seconds, ``None`` if the source has none. ``position`` is the position in
    the source and breaks ties (many real items share a timestamp). ``voices`` names *other* people
    whose words occur in the fields, e.g. the chat partner who is quoted as context.
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
        """Return a hash of the fields (32 hex digits), equal for equal records in different
        places."""
        # Case and the order of fields do not count; id, time and position do not either.
        text = json.dumps(dict(sorted(self.fields.items())), ensure_ascii=False)
        return hashlib.sha256(text.casefold().encode()).hexdigest()[:32]
