"""The protocol of all retrievers: search a person's earlier items, and only these."""

from __future__ import annotations

from typing import Protocol


class Retriever(Protocol):
    """Searches one person's items, indexed once, in history order."""

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """Return at most ``k`` positions in ``range(visible)``, best first; later ones win ties.

        The result may depend only on the first ``visible`` items of the history
        (docs/invariants.md, invariant 4).
        """
        ...
