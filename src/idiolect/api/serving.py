"""API functions that use adapters: predict, evaluate, exchange with PEFT, and the demo."""

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
    """Answer one question with one person's adapter.

    The base model answers if the person has no adapter in use.

    Args:
        request: The question and the person. ``data`` is required if the adapters were trained with
            retrieval, ``profiles`` if they were trained with profiles.

    Returns:
        The answer, whether the adapter or the base model gave it, and, if the task has a fixed set
        of answers, the likelihood of each.

    Raises:
        MissingError: If the store does not exist or does not contain the person.
        MismatchError: If the base model is not the one that the adapters were trained on.
        UsageError: If ``data`` or ``profiles`` is required and missing, or if the base model cannot
            be quantized as asked.

    Example:
        >>> predict(PredictRequest(store=Path("mine"), person="ann", text="Heat (1995)"))
    """
    from idiolect.pieces.recipes.sources import open_source
    from idiolect.serving.predict import predict_one

    # The folder holds adapters or recipes; a recipe's adapter is assembled when it is needed.
    return predict_one(
        open_source(request.store, request.pool),
        request.person,
        request.text,
        base=request.base,
        data=request.data,
        profiles=request.profiles,
        quantize=request.quantize,
    )


def evaluate(request: EvaluateRequest, *, listener: Listener = null_listener) -> dict[str, Any]:
    """Compare methods on the same people and questions, and write a report.

    ``out`` gets ``report.json``, ``report.html`` and the figures. The OPPU paper uses a base model
    adapted with retrieval and one adapted with profiles (``rag_base``, ``pag_base``); without them,
    the methods that retrieve or use profiles run on ``base``. After an interruption, the same call
    resumes.

    Args:
        request: The dataset, the methods, and the people.
        listener: Receives progress events.

    Returns:
        The content of ``report.json``.

    Raises:
        MissingError: If the dataset, or a person in it, does not exist.
        UsageError: If more people are requested than can be tested, if a method is unknown, or if
            the base model was adapted on one of the people.

    Example:
        >>> evaluate(EvaluateRequest(data=Path("data"), out=Path("report"), people=60))
    """
    from idiolect.evaluation.run import evaluate_dataset

    return evaluate_dataset(request, listener=listener)


def export(request: ExportRequest) -> Path:
    """Write a person's adapter in PEFT's format.

    Args:
        request: The person, the store, and the folder to write.

    Returns:
        The folder that was written.

    Raises:
        MissingError: If the store does not exist, or if the person has no adapter in it.
        UsageError: If the format is unknown, if ``out`` is not empty, or if ``on`` is ``"public"``
            and the base model contains no task adapter.

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
    """Add an adapter in PEFT's format to a store, as the adapter of one person.

    Args:
        request: The adapter, the store, and the person.

    Returns:
        The store, the person, and the adapter's size in bytes.

    Raises:
        MissingError: If the store or the adapter does not exist.
        MismatchError: If the adapter's base model or configuration differs from the store's.
        UsageError: If the person already has an adapter and ``replace`` is not set.

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
    """Train and evaluate adapters for people of two small public datasets, in minutes.

    The datasets are film ratings (MovieLens) and chats (chitchat). ``out`` gets ``report.json``,
    ``report.html``, and the work files.

    Args:
        out: Folder for the report.
        people: Number of people per dataset; by default 8 for films and 4 for chats.
        seed: Seed of all random choices.
        listener: Receives progress events.

    Returns:
        The content of ``report.json``.

    Raises:
        UsageError: If the datasets have fewer people than requested.
        MissingError: If the package of a dataset is not installed.

    Example:
        >>> demo(Path("demo"), people=3)
    """
    from idiolect.evaluation.run import run_demo

    return run_demo(out, people=people, seed=seed, listener=listener)
