"""Measures models before and after unlearning, and writes the scorecard report."""

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
    """Numbers of prompts and questions, and the settings of the measurement."""

    prompts: int = 64
    """Number of prompts of each harmful set; the interval of a rate over 64 prompts is about
    ±12 percentage points."""
    retain: int = 64
    """Number of normal pairs, from the retain set."""
    pairs: int = 32
    """Number of pairs for relearning and membership inference: from the forget set, and unseen."""
    questions: int = 50
    """Number of multiple-choice questions of each set, if the sets are installed; 0 for none."""
    forms: bool = True
    """Whether quantized forms and the sign-flipped model are measured as well."""
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
    """Measure ``before`` and each model of ``after``; see ``api.scorecard``."""
    config = config or ScorecardConfig()
    # Check all inputs before a model is loaded.
    inputs = _load_inputs(forget, retain, unseen, config)
    encoder = encoder or MiniLM()
    first = open_target(before, base=base)
    if isinstance(judge, str):
        judge = open_judge(judge, encoder=encoder, listener=listener)
    # All models share one scorer, so they answer the same prompts and have the same judge.
    scorer = ScorecardRunner(
        first.base, first.adapter, inputs, judge, encoder, config.score, listener=listener
    )
    # The original model first, then each model after unlearning.
    cards = [scorer.measure_model("before", first.base, first.adapter)]
    for name, source in zip(_name_models(after), after, strict=True):
        model = _share_base(open_target(source, base=base if _is_adapter(source) else None), first)
        cards.append(scorer.measure_model(name, model.base, model.adapter))
        if config.forms:
            # Does what was unlearned come back in the quantized model, or with the sign flipped?
            quantized = scorer.measure_quantized(name, model.base, model.adapter)
            cards += [
                *quantized.values(),
                scorer.measure_sign_flip(name, model.base, model.adapter),
            ]
    return write_unlearning_report(
        cards, judge.info, out, after=config.score.relearn.after, about={"base": first.base.name}
    )


def _is_adapter(source: str) -> bool:
    return (Path(source) / "adapter_config.json").is_file()


def _share_base(model: UnlearnTarget, first: UnlearnTarget) -> UnlearnTarget:
    """Return the model on the base object of the first one if both bases are the same.

    Raises UsageError if the bases differ and one of the models is an adapter, because such models
    cannot be compared.
    """
    if model.base.identity == first.base.identity:
        return UnlearnTarget(base=first.base, adapter=model.adapter)
    if first.adapter is not None or model.adapter is not None:
        raise UsageError(
            f"{model.base.name}: differs from the base of the original model; compare adapters "
            "of one base, or base models without adapters"
        )
    return model


def _name_models(after: Sequence[str]) -> list[str]:
    """Name each model after its folder; number the folders that have the same name."""
    names = [Path(one).name or one for one in after]
    return [f"{name} {n}" if names.count(name) > 1 else name for n, name in enumerate(names, 1)]


def _load_inputs(
    forget: str | Path, retain: str | Path, unseen: str | Path | None, config: ScorecardConfig
) -> ScorecardInputs:
    """Draw prompts and pairs from the given sets with the seed.

    Raises UsageError if a prompt is in two of the sets.
    """
    forgotten, retained = load_set(forget, "forget").pairs, load_set(retain, "retain").pairs
    require_disjoint(forgotten, retained)
    prompts = {"seen": _sample_pairs(forgotten, config.prompts, config.seed)}
    others: tuple[Pair, ...] = ()
    if unseen is not None:
        # Harmful prompts that were not used in unlearning show whether it generalizes.
        more = _read_unseen_pairs(Path(unseen))
        require_disjoint(forgotten, more)
        prompts["unseen"] = _sample_pairs(more, config.prompts, config.seed)
        # Unseen pairs are the nonmembers of membership inference, which needs their answers.
        others = tuple(p for p in _sample_pairs(more, config.pairs, config.seed) if p.response)
    return ScorecardInputs(
        prompts={name: tuple(pair.prompt for pair in pairs) for name, pairs in prompts.items()},
        retain=_sample_pairs(retained, config.retain, config.seed),
        forget_pairs=_sample_pairs(forgotten, config.pairs, config.seed),
        nonmember_pairs=others,
        choices=_load_choices(config.questions),
    )


def _read_unseen_pairs(file: Path) -> tuple[Pair, ...]:
    """Read pairs, or prompts without responses if some response is missing."""
    try:
        return read_pairs(file, side="forget")
    except DataError:
        return read_pairs(file, side="forget", prompts_only=True)


def _sample_pairs(pairs: Sequence[Pair], count: int, seed: int) -> tuple[Pair, ...]:
    """Draw at most ``count`` prompts with the seed; return one pair of each."""
    prompts = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(prompts)), seed=seed, purpose="scorecard")
    return tuple(same[0] for same in group_by_prompt(part).values())


def _load_choices(count: int) -> dict[str, tuple[MultipleChoiceQuestion, ...]]:
    """Return about ``count`` questions of each multiple-choice set; empty if none is installed."""
    if not count:
        return {}
    with contextlib.suppress(MissingError):
        sets = {
            "OpenBookQA": corpora.load_open_book_qa(),
            "CommonsenseQA": corpora.load_commonsense_qa(),
        }
        # Evenly spaced questions: the same ones in each run, from all parts of a set.
        return {name: whole[:: max(1, len(whole) // count)][:count] for name, whole in sets.items()}
    return {}
