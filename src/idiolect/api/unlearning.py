"""API functions for unlearning: remove knowledge from a model, and measure the effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.api.requests import ScorecardRequest, UnlearnRequest
from idiolect.events import Listener, null_listener

if TYPE_CHECKING:
    from idiolect.unlearning.run import Perplexities


@dataclass(frozen=True, kw_only=True)
class UnlearnSummary:
    """The result of ``unlearn``."""

    out: Path
    """Folder of the new model."""
    kind: str
    """``base`` or ``adapter``."""
    method: str
    """Name of the unlearning method."""
    scale: float
    """Factor by which the trained update was subtracted."""
    before: Perplexities
    """Perplexities of the model before unlearning."""
    after: Perplexities
    """Perplexities of the new model."""
    forget_pairs: int
    """Number of prompts and responses in the forget set."""
    retain_pairs: int
    """Number of prompts and responses in the retain set."""
    steps: int
    """Number of optimizer steps."""
    seconds: float


def unlearn(request: UnlearnRequest, *, listener: Listener = null_listener) -> UnlearnSummary:
    """Remove the forget set's content from a model, preserve the retain set's, and write the model.

    The target itself is not changed.

    Args:
        request: The model, the forget set, the retain set, and the method.
        listener: Receives progress events.

    Returns:
        The method's scale, and perplexities on both sets before and after.

    Raises:
        DataError: If a file of prompts and responses is broken.
        MissingError: If the target, or a file, does not exist.
        MismatchError: If an adapter was made for another base model.
        UsageError: If the sets overlap, if ``out`` is not empty, or if a fixed ``scale`` raises the
            perplexity on the retain set beyond ``guard``; nothing is written then.

    Example:
        >>> unlearn(
        ...     UnlearnRequest(
        ...         target="default", out=Path("out"), forget="pyrit", retain="truthfulqa"
        ...     )
        ... )
    """
    from idiolect.prompt_sets.named import load_set
    from idiolect.prompt_sets.split import require_disjoint
    from idiolect.unlearning.output import publish_model, require_publishable
    from idiolect.unlearning.run import UnlearnConfig
    from idiolect.unlearning.run import unlearn as unlearn_model
    from idiolect.unlearning.target import open_target

    config, out = request.config or UnlearnConfig(), request.out
    # Training all weights requires float32.
    if config.parameters == "full" and config.dtype == "auto":
        config = replace(config, dtype="float32")
    # Check the sets and the output folder before any long work.
    forget_set, retain_set = load_set(request.forget, "forget"), load_set(request.retain, "retain")
    require_disjoint(forget_set.pairs, retain_set.pairs)
    opened = open_target(
        str(request.target),
        person=request.person,
        base=request.base,
        pool=request.pool,
        dtype=config.dtype,
        device=config.device,
    )
    require_publishable(opened, out)
    result = unlearn_model(
        opened.base, opened.adapter, forget_set.pairs, retain_set.pairs, config, listener=listener
    )
    # The manifest records the settings and the sets' digests, but none of their text.
    about = {
        "method": config.method,
        "config": config.effective_settings,
        "scale": result.scale,
        "forget": forget_set.summary,
        "retain": retain_set.summary,
    }
    publish_model(opened, result, out, about)
    return UnlearnSummary(
        out=out,
        kind=opened.kind,
        method=config.method,
        scale=result.scale,
        before=result.before,
        after=result.after,
        forget_pairs=len(forget_set.pairs),
        retain_pairs=len(retain_set.pairs),
        steps=result.steps,
        seconds=result.seconds,
    )


def scorecard(request: ScorecardRequest, *, listener: Listener = null_listener) -> dict[str, Any]:
    """Measure whether unlearning worked and what it cost, and write a report.

    All models get the same prompts. ``out`` gets ``report.json`` and ``report.html``, which contain
    no prompt and no answer.

    Args:
        request: The models, the prompts, and the judge.
        listener: Receives progress events.

    Returns:
        The content of ``report.json``.

    Raises:
        DataError: If a file of prompts is broken.
        MissingError: If a model, or a file, does not exist.
        UsageError: If the models cannot be compared, or if the judge is unknown.

    Example:
        >>> scorecard(
        ...     ScorecardRequest(
        ...         before="default",
        ...         after=["unlearned"],
        ...         out=Path("report"),
        ...         forget="pyrit",
        ...         retain="truthfulqa",
        ...     )
        ... )
    """
    from idiolect.evaluation.run_scorecard import run_scorecard

    # Sets and models may be names or paths; both are resolved later.
    return run_scorecard(
        str(request.before),
        [str(model) for model in request.after],
        request.out,
        forget=request.forget,
        retain=request.retain,
        unseen=request.unseen,
        judge=request.judge,
        base=request.base,
        config=request.config,
        listener=listener,
    )
