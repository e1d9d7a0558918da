"""Knowledge taken out of a base or an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.evaluation.run_scorecard import ScorecardConfig
    from idiolect.unlearning.run import Figures, UnlearnConfig


@dataclass(frozen=True, kw_only=True)
class UnlearnSummary:
    """What unlearning did."""

    out: Path
    kind: str
    """``base`` or ``adapter``."""
    method: str
    scale: float
    before: Figures
    after: Figures
    forget_pairs: int
    retain_pairs: int
    steps: int
    seconds: float


def unlearn(
    target: str | Path,
    out: Path,
    *,
    forget: str | Path,
    retain: str | Path,
    config: UnlearnConfig | None = None,
    person: str | None = None,
    base: str | None = None,
    pool: Path | None = None,
    listener: Listener = silent,
) -> UnlearnSummary:
    """Take what the forget set says out of a model, keep what the retain set says, write it.

    ``target``: ``default``, a model's folder or hub id (``out`` is a base then); a folder in PEFT's
    format, or a store, of which ``person``'s adapter is meant (``out`` is an adapter in PEFT's
    format then, for the same ``base``). ``forget``, ``retain``: files of pairs, or ``pyrit``,
    ``truthfulqa``. Where a scale breaks the model, nothing is written.
    """
    from idiolect.prompt_sets.named import read_given
    from idiolect.prompt_sets.split import require_apart
    from idiolect.unlearning.output import publish, require_publishable
    from idiolect.unlearning.run import UnlearnConfig
    from idiolect.unlearning.run import unlearn as unlearn_model
    from idiolect.unlearning.target import open_target

    config = config or UnlearnConfig()
    if config.parameters == "full" and config.dtype == "auto":
        config = replace(config, dtype="float32")
    going, staying = read_given(forget, "forget"), read_given(retain, "retain")
    require_apart(going.pairs, staying.pairs)
    opened = open_target(
        str(target), person=person, base=base, pool=pool, dtype=config.dtype, device=config.device
    )
    require_publishable(opened, out)
    made = unlearn_model(
        opened.base, opened.adapter, going.pairs, staying.pairs, config, listener=listener
    )
    about = {
        "method": config.method,
        "config": config.resolved,
        "scale": made.scale,
        "forget": going.about,
        "retain": staying.about,
    }
    publish(opened, made, out, about)
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


def scorecard(
    before: str | Path,
    after: Sequence[str | Path],
    out: Path,
    *,
    forget: str | Path,
    retain: str | Path,
    unseen: str | Path | None = None,
    judge: str = "default",
    base: str | None = None,
    config: ScorecardConfig | None = None,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Measure whether unlearning worked and what it cost; gives the report, written to ``out``.

    ``before`` and ``after``: models as ``unlearn`` takes and makes them, adapters on the same
    ``base``. ``forget``, ``retain``: what was forgotten and kept, better of prompts that were not
    trained on; ``unseen``: harmful prompts that were not in the forget set, with or without
    answers. ``judge``: see ``unlearning.judges.HOW``. ``out`` gets ``report.json`` and
    ``report.html``, in which no prompt and no answer stands.
    """
    from idiolect.evaluation.run_scorecard import scorecard as measure

    return measure(
        str(before),
        [str(one) for one in after],
        out,
        forget=forget,
        retain=retain,
        unseen=unseen,
        judge=judge,
        base=base,
        config=config,
        listener=listener,
    )
