"""Sizes and settings of the benchmark of private training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from idiolect.adapters.lora import LoraConfig
from idiolect.evaluation.demo import FILMS, DemoTask
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.private.config import PrivateConfig
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig

SEED = 0
LORA = LoraConfig(active="answer")
"""As in ``quality.py``: on film ratings, adapters that act on answers only overfit less."""
PERSONAL = PersonalConfig(lora=LORA, train=TrainConfig(seed=SEED), gate=GateConfig(on=False))
"""The defaults of ``personalize``, without the gate: all people count."""
DONORS = replace(PERSONAL, lora=replace(LORA, shared_a=True))
PRIVATE = PrivateConfig()
TIMED_PEOPLE, TIMED_ROUNDS = 4, 2
"""Training times are measured on the first people, both ways in turn, so that other work on the
machine slows both."""
RATERS = replace(FILMS, min_items=100, max_items=250)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of people, items and repetitions."""

    subject: DemoTask = RATERS
    people: int = 20
    """People who are trained privately."""
    donors: int = 30
    films: int = 200
    """The base is adapted on ratings of this number of films by other people: the most rated ones,
    to save time."""
    items: int = 60
    """Records that each person is trained on."""
    queries: int = 20
    """Each person's last items."""
    outside: int = 20
    """Items of the same time as the records that are left out, for the membership attack."""
    directions: int = 4
    epsilons: tuple[float, ...] = (8.0, 2.0)
    """The first one is the one of the targets."""
    draws: int = 2
    """Trainings of each person at the first epsilon, each with noise of its own."""
    canaries: int = 8
    """People in whose history a canary is planted."""
    repeats: int = 5
    """Times that a canary occurs in a history."""
    alternatives: int = 100

    @property
    def last(self) -> int:
        """The number of items of a person that are used."""
        return self.items + self.outside + self.queries


QUICK = Sizes(
    subject=replace(FILMS, min_items=30, max_items=250),
    people=3,
    donors=6,
    films=20,
    items=20,
    queries=4,
    outside=4,
    directions=2,
    epsilons=(8.0, 1.0),
    draws=2,
    canaries=1,
    repeats=3,
    alternatives=5,
)
"""Sizes for tests on the tiny model."""
