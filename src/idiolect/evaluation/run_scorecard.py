"""Models before and after unlearning, opened by name, measured side by side, as a report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.evaluation.reports.unlearning import write_unlearning_report
from idiolect.events import Listener, null_listener
from idiolect.judging.protocol import Judge
from idiolect.judging.registry import open_judge
from idiolect.models.encoder import MiniLM
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.corpora import MultipleChoiceQuestion
from idiolect.prompt_sets.named import load_set
from idiolect.prompt_sets.pairs import Pair, group_by_prompt, read_pairs
from idiolect.prompt_sets.split import require_disjoint, split_by_prompt
from idiolect.retrieval.dense import Encoder
from idiolect.scorecard.scorer import ScorecardInputs, ScorecardRunner, ScoreConfig
from idiolect.unlearning.target import UnlearnTarget, open_target


@dataclass(frozen=True, kw_only=True)
class ScorecardConfig:
    """How much is asked, and how."""

    prompts: int = 64
    """Prompts of each harmful set; with as many a rate's interval is about 12 points to a side."""
    retain: int = 64
    """Normal pairs."""
    pairs: int = 32
    """Forgotten and other pairs for relearning and membership."""
    questions: int = 50
    """Multiple-choice questions of each set, where they are installed."""
    forms: bool = True
    """Whether roundings and the flipped sign are measured, too."""
    seed: int = 0
    score: ScoreConfig = field(default_factory=ScoreConfig)

    def __post_init__(self) -> None:
        for name in ("prompts", "retain", "pairs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.questions < 0:
            raise UsageError(f"questions: must be 0 (none) or more, got {self.questions}")


def run_scorecard(
    before: str,
    after: Sequence[str],
    out: Path,
    *,
    forget: str | Path,
    retain: str | Path,
    unseen: str | Path | None = None,
    judge: str | Judge = "default",
    base: str | None = None,
    config: ScorecardConfig | None = None,
    encoder: Encoder | None = None,
    listener: Listener = null_listener,
) -> dict[str, Any]:
    """See ``api.scorecard``."""
    config = config or ScorecardConfig()
    material = _load_inputs(forget, retain, unseen, config)
    encoder = encoder or MiniLM()
    first = open_target(before, base=base)
    told = judge
    if isinstance(told, str):
        told = open_judge(told, encoder=encoder, listener=listener)
    scorer = ScorecardRunner(
        first.base, first.adapter, material, told, encoder, config.score, listener=listener
    )
    cards = [scorer.measure_model("before", first.base, first.adapter)]
    for name, source in zip(_name_models(after), after, strict=True):
        model = _share_base(open_target(source, base=base if _is_adapter(source) else None), first)
        cards.append(scorer.measure_model(name, model.base, model.adapter))
        if config.forms:
            few = scorer.measure_quantized(name, model.base, model.adapter)
            cards += [*few.values(), scorer.measure_sign_flip(name, model.base, model.adapter)]
    return write_unlearning_report(
        cards, told.info, out, after=config.score.relearn.after, about={"base": first.base.name}
    )


def _is_adapter(source: str) -> bool:
    return (Path(source) / "adapter_config.json").is_file()


def _share_base(model: UnlearnTarget, first: UnlearnTarget) -> UnlearnTarget:
    """The model on the very base of the first one, where it is the same.

    Raises UsageError for an adapter before and another base after: nothing can be compared.
    """
    if model.base.identity == first.base.identity:
        return UnlearnTarget(base=first.base, adapter=model.adapter)
    if first.adapter is not None or model.adapter is not None:
        raise UsageError(
            f"{model.base.name}: is another base than that of the model before; compare adapters "
            "on one base, or bases alone"
        )
    return model


def _name_models(after: Sequence[str]) -> list[str]:
    """What each is called: its folder, numbered where two are alike."""
    names = [Path(one).name or one for one in after]
    return [f"{name} {n}" if names.count(name) > 1 else name for n, name in enumerate(names, 1)]


def _load_inputs(
    forget: str | Path, retain: str | Path, unseen: str | Path | None, config: ScorecardConfig
) -> ScorecardInputs:
    """Seeded draws from the given sets. Raises UsageError where a prompt is in two of them."""
    going, staying = (load_set(forget, "forget").pairs, load_set(retain, "retain").pairs)
    require_disjoint(going, staying)
    prompts = {"seen": _sample_pairs(going, config.prompts, config.seed)}
    others: tuple[Pair, ...] = ()
    if unseen is not None:
        more = _read_unseen_pairs(Path(unseen))
        require_disjoint(going, more)
        prompts["unseen"] = _sample_pairs(more, config.prompts, config.seed)
        others = tuple(p for p in _sample_pairs(more, config.pairs, config.seed) if p.response)
    return ScorecardInputs(
        prompts={name: tuple(pair.prompt for pair in pairs) for name, pairs in prompts.items()},
        retain=_sample_pairs(staying, config.retain, config.seed),
        forget_pairs=_sample_pairs(going, config.pairs, config.seed),
        nonmember_pairs=others,
        choices=_load_choices(config.questions),
    )


def _read_unseen_pairs(file: Path) -> tuple[Pair, ...]:
    """Pairs, or prompts alone where answers are missing."""
    try:
        return read_pairs(file, side="forget")
    except DataError:
        return read_pairs(file, side="forget", prompts_only=True)


def _sample_pairs(pairs: Sequence[Pair], count: int, seed: int) -> tuple[Pair, ...]:
    """One pair each of so many prompts at most, drawn by the seed."""
    kinds = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=seed, purpose="scorecard")
    return tuple(found[0] for found in group_by_prompt(part).values())


def _load_choices(count: int) -> dict[str, tuple[MultipleChoiceQuestion, ...]]:
    """Multiple choice, where the package with it is installed."""
    if not count:
        return {}
    with contextlib.suppress(MissingError):
        found = {
            "OpenBookQA": corpora.load_open_book_qa(),
            "CommonsenseQA": corpora.load_commonsense_qa(),
        }
        return {name: one[:: max(1, len(one) // count)][:count] for name, one in found.items()}
    return {}
