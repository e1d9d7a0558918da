"""The registry of retrievers by name."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.errors import UsageError
from idiolect.retrieval.baselines import RandomRetriever, RecentRetriever
from idiolect.retrieval.bm25 import Bm25Retriever
from idiolect.retrieval.dense import DenseRetriever, Encoder
from idiolect.retrieval.retriever import Retriever


def retriever_names() -> tuple[str, ...]:
    """Return the names of all retrievers."""
    return ("bm25", "dense", "random", "recent")


def get_retriever(
    name: str,
    texts: Sequence[str],
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
    person: str = "",
) -> Retriever:
    """Index one person's texts, in history order, with the retriever of this name.

    ``dense`` needs an encoder; only ``random`` uses ``seed`` and ``person``. Raises UsageError for
    an unknown name, and for ``dense`` without an encoder.
    """
    match name:
        case "bm25":
            return Bm25Retriever(texts)
        case "dense":
            if encoder is None:
                raise UsageError("dense retrieval needs an encoder; pass one, or use 'bm25'")
            return DenseRetriever(texts, encoder)
        # The baselines do not look at the texts.
        case "random":
            return RandomRetriever(seed=seed, person=person)
        case "recent":
            return RecentRetriever()
        case _:
            raise UsageError(f"unknown retriever {name!r}; known: {', '.join(retriever_names())}")
