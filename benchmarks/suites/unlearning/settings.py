"""Sizes and training settings of the unlearning benchmark, each with its reason."""

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
"""SKU without each of its modules, and without the projection after training, which the paper does
not have."""
PERSONAL = ("sku", "ga-mismatch")
"""Methods that unlearn from a person's adapter."""
RETAIN_BOUND = 1.04
"""Bound on the retain perplexity when the scale is chosen. The target (1.05) uses other text."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of prompts, pairs and people, for a run of about 25 minutes on two cores."""

    seen: int = 40
    """Prompts of the forget set that each model answers."""
    unseen: int = 40
    """Prompts of the same source that are not in the forget set."""
    goals: int = 20
    """AdvBench goals."""
    unrelated: int = 104
    """TruthfulQA questions whose answers, and the base's answers, train the judge as harmless."""
    retain: int = 300
    """TruthfulQA questions for training and for choosing a scale."""
    measured: int = 64
    """TruthfulQA questions for retain perplexity and similarity."""
    elsewhere: int = 40
    """Chat replies per person, for the perplexity on text of another kind."""
    pairs: int = 16
    """Forgotten pairs, and as many other pairs, for relearning and membership."""
    questions: int = 25
    """Multiple-choice questions of each set."""
    people: int = 1
    records: int = 60
    """Replies of a person to train on."""
    held_out: int = 24
    """Later replies to measure the personal gain on."""
    harmful: int = 60
    """Harmful pairs mixed into a person's records."""
    asked: int = 20
    """Prompts of each set that a person's adapter answers."""


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
    """All settings of the benchmark."""

    sizes: Sizes = field(default_factory=Sizes)
    unlearn: UnlearnConfig = field(
        default_factory=lambda: UnlearnConfig(
            retain_bound=RETAIN_BOUND, answer_tokens=32, prompt=PromptConfig(max_tokens=96)
        )
    )
    """All other fields keep the library's defaults."""
    steps: int | None = None
    """Training steps of all methods; ``None`` uses each method's own."""
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
    """The config of a person's adapter."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=3, seed=SEED))

    def configure_method(self, name: str) -> UnlearnConfig:
        """Return the settings of a method or of an ablation of SKU."""
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
    """Return settings for tests on a tiny model."""
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
