"""How large everything is, and with which settings methods are trained; the reasons beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from idiolect.adapters.lora import LoraConfig
from idiolect.prompts.render import PromptConfig
from idiolect.scorecard.relearning import RelearnConfig
from idiolect.scorecard.scorer import ScoreConfig
from idiolect.training.schedule import TrainConfig
from idiolect.unlearning.run import UnlearnConfig

SEED = 0
METHODS = ("sku", "task-vector", "ft", "ga", "ga-mismatch", "npo")
ABLATIONS = ("no-guided", "no-random", "no-preserve", "no-spare")
"""Of SKU: without each of its modules, and without the step after training, which the paper has
not."""
PERSONAL = ("sku", "ga-mismatch")
"""What a person's adapter is unlearned with."""
RETAIN_BOUND = 1.04
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
    elsewhere: int = 40
    """A person's chat replies, for the perplexity on text of another kind."""
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
    elsewhere=3,
    pairs=4,
    questions=2,
    people=1,
    records=8,
    held_out=4,
    harmful=6,
    asked=3,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What everything runs with."""

    sizes: Sizes = field(default_factory=Sizes)
    unlearn: UnlearnConfig = field(
        default_factory=lambda: UnlearnConfig(
            retain_bound=RETAIN_BOUND, answer_tokens=32, prompt=PromptConfig(max_tokens=96)
        )
    )
    """All else is the product's default."""
    steps: int | None = None
    """For every method; ``None``: its own."""
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

    def configure_method(self, name: str) -> UnlearnConfig:
        """The settings of a method, or of SKU without a module."""
        sku = self.unlearn.sku
        changes = {
            "no-guided": {"e1": 0.0},
            "no-random": {"e2": 0.0},
            "no-preserve": {"e3": 0.0},
        }
        method = "sku" if name in ABLATIONS else name
        own = UnlearnConfig.with_method_defaults(method).train
        return replace(
            self.unlearn,
            method=method,
            sku=replace(sku, **changes.get(name, {})),
            spare=0 if name == "no-spare" else self.unlearn.spare,
            train=replace(
                self.unlearn.train, rate=own.rate, steps=self.steps or own.steps, seed=SEED
            ),
        )


def make_quick_settings() -> Settings:
    """Sizes for tests, on a tiny model."""
    plain = Settings(sizes=QUICK)
    small = LoraConfig(rank=2, alpha=4.0)
    train = replace(plain.unlearn.train, batch=2)
    return replace(
        plain,
        steps=2,
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
