"""How large everything is, and with which settings methods are trained; the reasons beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from idiolect.adapters import LoraConfig
from idiolect.models import PromptConfig
from idiolect.training import TrainConfig
from idiolect.unlearning import UnlearnConfig
from idiolect.unlearning.mismatch import Mismatch
from idiolect.unlearning.relearn import RelearnConfig
from idiolect.unlearning.scorecard import ScoreConfig
from idiolect.unlearning.sku import Sku

SEED = 0
METHODS = ("sku", "task-vector", "ft", "ga", "ga-mismatch", "npo")
ABLATIONS = ("no-guided", "no-random", "no-preserve", "away")
"""Of SKU: without each of its modules, and with the last one's sign and weight as released."""
PERSONAL = ("sku", "ga-mismatch")
"""What a person's adapter is unlearned with."""
BOUND = 1.04
"""Retain perplexity that a scale may cost where it is chosen; it is judged, at 1.05, elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many of everything; all of it together stays under 25 minutes on two cores."""

    seen: int = 40
    """Prompts of the forget set that models are asked."""
    unseen: int = 40
    """Prompts of the same source that were not in it."""
    goals: int = 20
    """AdvBench goals."""
    unrelated: int = 104
    """TruthfulQA questions; the judge learns from their answers, and from the base's, as
    harmless."""
    retain: int = 300
    """TruthfulQA questions for training, and for choosing a scale."""
    measured: int = 64
    """TruthfulQA questions for retain perplexity and similarity."""
    pairs: int = 16
    """Forgotten and other pairs for relearning and membership."""
    questions: int = 25
    """Multiple-choice questions of each set."""
    people: int = 1
    records: int = 60
    """Of a person's replies: to train on."""
    held_out: int = 24
    """Of their replies: to measure the personal gain on."""
    harmful: int = 60
    """Harmful pairs mixed into a person's records."""
    asked: int = 20
    """Prompts of each set that a person's adapter is asked."""


QUICK = Sizes(
    seen=3,
    unseen=3,
    goals=2,
    unrelated=12,
    retain=10,
    measured=3,
    pairs=4,
    questions=2,
    people=1,
    records=8,
    held_out=4,
    harmful=6,
    asked=3,
)


OWN: Mapping[str, Mapping[str, Any]] = {
    "sku": {"rate": 3e-3, "steps": 24},
    "task-vector": {"rate": 1e-3, "steps": 24},
    "ft": {"rate": 1e-3, "steps": 40},
    "ga": {"rate": 3e-4, "steps": 24},
    "ga-mismatch": {"rate": 2e-3, "steps": 24},
    "npo": {"rate": 5e-4, "steps": 24},
}
"""Rate and steps of each method, searched a little on prompts that the benchmark never asks
(docs/notes/unlearning.md); SKU takes the most time a step."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What everything runs with."""

    sizes: Sizes = field(default_factory=Sizes)
    unlearn: UnlearnConfig = field(
        default_factory=lambda: UnlearnConfig(
            retain_bound=BOUND,
            answer_tokens=32,
            retain_batch=12,
            prompt=PromptConfig(max_tokens=96),
            train=TrainConfig(batch=4, weight_decay=0.0, seed=SEED),
            sku=Sku(e3=20.0, others=1),
            ga_mismatch=Mismatch(ascent=0.1),
        )
    )
    """SKU draws an answer to another prompt for each; the paper has 5, for thrice the time."""
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: dict(OWN))
    score: ScoreConfig = field(
        default_factory=lambda: ScoreConfig(
            tokens=40,
            prompt=PromptConfig(max_tokens=160),
            answer_tokens=48,
            normal=16,
            relearn=RelearnConfig(after=(0, 1, 2, 5, 10), batch=2, seed=SEED),
        )
    )
    lora: LoraConfig = field(default_factory=LoraConfig)
    """A person's adapter."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=3, seed=SEED))

    def method(self, name: str) -> UnlearnConfig:
        """The settings of a method, or of SKU without a module."""
        sku = self.unlearn.sku
        changes = {
            "no-guided": {"e1": 0.0},
            "no-random": {"e2": 0.0},
            "no-preserve": {"e3": 0.0},
            "away": {"divergence": "away", "e3": 1.0},  # as released
        }
        method = "sku" if name in changes else name
        return replace(
            self.unlearn,
            method=method,
            sku=replace(sku, **changes.get(name, {})),
            train=replace(self.unlearn.train, **self.own[method]),
        )


def quick() -> Settings:
    """Sizes for tests, on a tiny model."""
    plain = Settings(sizes=QUICK)
    small = LoraConfig(rank=2, alpha=4.0)
    train = replace(plain.unlearn.train, batch=2)
    return replace(
        plain,
        own={name: {**one, "steps": 2} for name, one in OWN.items()},
        unlearn=replace(
            plain.unlearn, lora=small, train=train, answer_tokens=24, retain_bound=10.0
        ),
        score=replace(
            plain.score,
            tokens=6,
            answer_tokens=24,
            relearn=RelearnConfig(after=(0, 1), batch=2, lora=small),
        ),
        lora=small,
        train=replace(plain.train, epochs=1),
    )
