"""Knowledge taken out of a base or an adapter."""

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
    """What unlearning did."""

    out: Path
    kind: str
    """``base`` or ``adapter``."""
    method: str
    scale: float
    before: Perplexities
    after: Perplexities
    forget_pairs: int
    retain_pairs: int
    steps: int
    seconds: float


def unlearn(request: UnlearnRequest, *, listener: Listener = null_listener) -> UnlearnSummary:
    """Take what the forget set says out of a model, keep what the retain set says, write it.

    Args:
        request: What to take out of which model.
        listener: Called with progress.

    Returns:
        What was done, with perplexities before and after.

    Raises:
        UsageError: If forget and retain set overlap, or if a scale breaks the model; nothing is
            written then.

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
    if config.parameters == "full" and config.dtype == "auto":
        config = replace(config, dtype="float32")
    going, staying = load_set(request.forget, "forget"), load_set(request.retain, "retain")
    require_disjoint(going.pairs, staying.pairs)
    opened = open_target(
        str(request.target),
        person=request.person,
        base=request.base,
        pool=request.pool,
        dtype=config.dtype,
        device=config.device,
    )
    require_publishable(opened, out)
    made = unlearn_model(
        opened.base, opened.adapter, going.pairs, staying.pairs, config, listener=listener
    )
    about = {
        "method": config.method,
        "config": config.effective_settings,
        "scale": made.scale,
        "forget": going.summary,
        "retain": staying.summary,
    }
    publish_model(opened, made, out, about)
    return UnlearnSummary(
        out=out,
        kind=opened.kind,
        method=config.method,
        scale=made.scale,
        before=made.before,
        after=made.after,
        forget_pairs=len(going.pairs),
        retain_pairs=len(staying.pairs),
        steps=made.steps,
        seconds=made.seconds,
    )


def scorecard(request: ScorecardRequest, *, listener: Listener = null_listener) -> dict[str, Any]:
    """Measure whether unlearning worked and what it cost, and write a report.

    ``out`` gets ``report.json`` and ``report.html``, without any prompt or answer.

    Args:
        request: Which models to measure, with which prompts.
        listener: Called with progress.

    Returns:
        The report's content.

    Raises:
        UsageError: If the models cannot be compared.

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
    from idiolect.evaluation.run_scorecard import run_scorecard as measure

    return measure(
        str(request.before),
        [str(one) for one in request.after],
        request.out,
        forget=request.forget,
        retain=request.retain,
        unseen=request.unseen,
        judge=request.judge,
        base=request.base,
        config=request.config,
        listener=listener,
    )
