"""What every retriever does: pick earlier items of one person; never one that is not earlier."""

from __future__ import annotations

from typing import Protocol


class Retriever(Protocol):
    """Searches one person's items, indexed once, in history order."""

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """At most ``k`` positions in ``range(visible)``, best first; ties go to the later item.

        Only the first ``visible`` items of the history may be seen (design, invariant 4).
        """
        ...
