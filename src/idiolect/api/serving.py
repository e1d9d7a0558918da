"""What adapters and recipes are used for: answers, comparisons, exchange with PEFT, the demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.adapters.formats.exchange import Taken
    from idiolect.evaluation.runner import EvaluateConfig
    from idiolect.serving.predict import Prediction


def predict(
    store: Path,
    person: str,
    text: str,
    *,
    base: str | None = None,
    data: Path | None = None,
    profiles: Path | None = None,
    pool: Path | None = None,
) -> Prediction:
    """Answer one question of the store's task as one person would.

    ``store``: a folder of adapters, or of recipes; ``pool`` is where the recipes' pool lies now.
    ``data`` is the person's dataset and ``profiles`` their profiles: a store whose adapters were
    trained with retrieval or with profiles needs them.
    """
    from idiolect.pieces.recipes.sources import open_source
    from idiolect.serving.predict import predict_one

    source = open_source(store, pool)
    return predict_one(source, person, text, base=base, data=data, profiles=profiles)


def evaluate(
    data: Path,
    out: Path,
    *,
    base: str = "default",
    rag_base: str | None = None,
    pag_base: str | None = None,
    methods: Sequence[str] = (),
    people: Sequence[str] | int = (),
    config: EvaluateConfig | None = None,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Compare methods on a dataset's people and write the report; gives its content.

    ``rag_base`` and ``pag_base``: bases adapted with retrieval and with profiles, for the methods
    that use these (OPPU adapts one for each); without them those methods run on ``base``.
    """
    from idiolect.evaluation.run import evaluate_dataset

    return evaluate_dataset(
        data,
        out,
        base=base,
        rag_base=rag_base,
        pag_base=pag_base,
        methods=methods,
        people=people,
        config=config,
        listener=listener,
    )


def export(
    store: Path,
    person: str,
    out: Path,
    *,
    format: str = "peft",
    on: Literal["base", "public"] = "base",
    base: str | None = None,
    pool: Path | None = None,
) -> Path:
    """Write a person's adapter in PEFT's format.

    ``store``: a folder of adapters, or of recipes; ``pool`` is where the recipes' pool lies now.
    ``on="public"`` stacks it with the task adapter of its base, so that it runs on the public base.
    """
    from idiolect.adapters.formats.exchange import export_adapter
    from idiolect.pieces.recipes.sources import open_source

    if format != "peft":
        raise UsageError(f"unknown format {format!r}; known: peft")
    return export_adapter(open_source(store, pool), person, out, on=on, base=base)


def import_adapter(
    folder: Path, store: Path, person: str, *, base: str | None = None, replace: bool = False
) -> Taken:
    """Take a PEFT adapter into a store as a person's own."""
    from idiolect.adapters.formats.exchange import take_adapter

    return take_adapter(folder, store, person, base=base, replace=replace)


def demo(
    out: Path = Path("demo"),
    *,
    people: int | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, Any]:
    """The whole way on real people, in minutes; writes the report and gives its content."""
    from idiolect.evaluation.run import demonstrate

    return demonstrate(out, people=people, seed=seed, listener=listener)
