"""What adapters and recipes are used for: answers, comparisons, exchange with PEFT, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.api.requests import ExportRequest, ImportAdapterRequest, PredictRequest
from idiolect.errors import UsageError
from idiolect.evaluation.request import EvaluateRequest
from idiolect.events import Listener, null_listener

if TYPE_CHECKING:
    from idiolect.adapters.formats.exchange import ImportedAdapter
    from idiolect.serving.predict import Prediction


def predict(request: PredictRequest) -> Prediction:
    """Answer one question of the store's task as one person would.

    Args:
        request: The question, and as whom to answer it. A store whose adapters were trained with
            retrieval needs ``data``, one with profiles ``profiles``.

    Returns:
        The answer, by whom it was served, and the likelihoods of given answers.

    Raises:
        MissingError: If the store does not know the person.
        MismatchError: For another base than that of the store.

    Example:
        >>> predict(PredictRequest(store=Path("mine"), person="ann", text="Heat (1995)"))
    """
    from idiolect.pieces.recipes.sources import open_source
    from idiolect.serving.predict import predict_one

    return predict_one(
        open_source(request.store, request.pool),
        request.person,
        request.text,
        base=request.base,
        data=request.data,
        profiles=request.profiles,
    )


def evaluate(request: EvaluateRequest, *, listener: Listener = null_listener) -> dict[str, Any]:
    """Compare methods on a dataset's people and write the report.

    OPPU adapts one base with retrieval and one with profiles; without ``rag_base`` and ``pag_base``
    the methods that use these run on ``base``.

    Args:
        request: Which methods, and on whom.
        listener: Called with progress.

    Returns:
        The report's content.

    Raises:
        UsageError: For more people than can be tested, or people whom a base was adapted on.

    Example:
        >>> evaluate(EvaluateRequest(data=Path("data"), out=Path("report"), people=60))
    """
    from idiolect.evaluation.run import evaluate_dataset

    return evaluate_dataset(request, listener=listener)


def export(request: ExportRequest) -> Path:
    """Write a person's adapter in PEFT's format.

    Args:
        request: Whose adapter, and where to write it.

    Returns:
        The folder that was written.

    Raises:
        UsageError: For an unknown format.
        MissingError: For a person without an adapter.

    Example:
        >>> export(ExportRequest(store=Path("mine"), person="ann", out=Path("ann")))
    """
    from idiolect.adapters.formats.exchange import export_adapter
    from idiolect.pieces.recipes.sources import open_source

    if request.format != "peft":
        raise UsageError(f"unknown format {request.format!r}; known: peft")
    source = open_source(request.store, request.pool)
    return export_adapter(source, request.person, request.out, on=request.on, base=request.base)


def import_adapter(request: ImportAdapterRequest) -> ImportedAdapter:
    """Take a PEFT adapter into a store as a person's own.

    Args:
        request: Which adapter, and as whose.

    Returns:
        The store, and the adapter's size.

    Raises:
        MismatchError: For an adapter of another base or kind than the store's.
        UsageError: If the person already has one and ``replace`` is not set.

    Example:
        >>> import_adapter(
        ...     ImportAdapterRequest(folder=Path("ann"), store=Path("mine"), person="ann")
        ... )
    """
    from idiolect.adapters.formats.exchange import import_adapter

    return import_adapter(
        request.folder,
        request.store,
        request.person,
        base=request.base,
        replace=request.replace,
    )


def demo(
    out: Path = Path("demo"),
    *,
    people: int | None = None,
    seed: int = 0,
    listener: Listener = null_listener,
) -> dict[str, Any]:
    """The whole way on real people, in minutes; writes the report and gives its content."""
    from idiolect.evaluation.run import run_demo

    return run_demo(out, people=people, seed=seed, listener=listener)
