"""Sizes and settings of the pieces benchmark, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from idiolect.adapters.lora import LoraConfig
from idiolect.evaluation.demo import CHATS, FILMS, DemoTask
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.sharing.selection import Strategy
from idiolect.pieces.sharing.train_gates import GatesConfig
from idiolect.training.schedule import TrainConfig

SEED = 0

LORA = LoraConfig(targets=("q_proj", "k_proj", "v_proj", "o_proj"), active="answer")
"""The paper's modules. Active on answers only: cheaper, and no worse on film ratings."""

TRAIN = TrainConfig(seed=SEED)
GATES = GatesConfig(steps=20, rate=1e-2, seed=SEED)
"""The best of five settings on 8 development users who rate films, by a small margin: 0.6529 nats
(20 steps at 1e-3: 0.6576; 50 at 1e-3: 0.6564; without pieces: 0.6538). See ``--develop``."""
ASSEMBLE = AssembleConfig(by="gates", seed=SEED)
"""Assembling as in the paper."""
BY_LIKELIHOOD = AssembleConfig(by="likelihood", seed=SEED)
GATES_TRIED = ((5, 1e-3), (20, 1e-4), (20, 1e-3), (20, 1e-2), (50, 1e-3))
"""(steps, rate) of ``--develop``."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of people, items and repetitions."""

    target_users: int = 40
    development: int = 8
    """People used to choose settings; they are not among the target users."""
    candidates: int = 90
    """Candidate sharers, a seeded draw. Three strategies that choose 30 each use about 60 to 70."""
    sharers: int = 30
    fewer: tuple[int, ...] = (5, 10, 20)
    history: int = 50
    """Each sharer's last items that are trained on."""
    known: int = 250
    """Each candidate's last items that sharers are chosen by."""
    held_out: int = 12
    """A sharer's items after the trained ones, for the leakage audit."""
    lengths: tuple[int, ...] = (5, 10, 20, 50)
    recent: tuple[int, ...] = (1, 2, 5, 10, 20)
    ratios: tuple[float, ...] = (0.2, 0.5)
    top_k: tuple[int, ...] = (1, 8)
    leaking: int = 8
    """Sharers whose leakage is measured."""
    leak_epochs: tuple[int, ...] = (1, 4)
    leak_dropout: float = 0.1
    leak_ratios: tuple[float, ...] = (1.0, 0.5, 0.2)
    timed: int = 8
    """Maximum number of target users that are timed, in two groups."""
    pools: tuple[int, ...] = (10, 100, 1_000, 10_000)
    group: int = 8
    """People per group of preparation; an interrupted run repeats at most one group."""

    @property
    def longest_history(self) -> int:
        """The longest history of a target user."""
        return max(self.lengths)


QUICK = Sizes(
    target_users=4,
    development=2,
    candidates=10,
    sharers=4,
    fewer=(3,),
    history=6,
    known=14,
    held_out=7,
    lengths=(2, 6),
    recent=(1, 2),
    ratios=(0.5,),
    top_k=(1, 4),
    leaking=2,
    leak_epochs=(1,),
    leak_ratios=(1.0, 0.5),
    timed=2,
    pools=(5, 20),
    group=3,
)
"""Sizes for tests on the tiny model."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings of one task."""

    subject: DemoTask
    queries: int
    """Number of a target user's last items that serve as queries."""
    strategies: tuple[Strategy, ...] = ("cluster", "most-active", "random")
    """Strategies that choose sharers. Except in their comparison, the first one is used."""
    few: int
    """Items to assemble from when one setting at a time is changed; few, to save time."""
    likely: int
    """The longest history that is assembled from by likelihood."""
    started: int
    """The longest history for training that starts from pieces."""
    leaks: bool = True
    """Whether leakage is measured."""
    timed: int = 8
    """Target users that are timed."""
    train_seconds: float
    """Seconds to train on one item on two cores, for the estimate of the duration."""
    assemble_seconds: float
    """Seconds to assemble from one item on two cores."""


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "rating": Setting(
            subject=FILMS,
            queries=20,
            few=5,
            likely=50,
            started=50,
            train_seconds=0.03,
            assemble_seconds=0.02,
        ),
        "reply": Setting(
            subject=CHATS,
            queries=12,
            strategies=("cluster",),  # an item takes three times as long as in rating
            few=5,
            likely=20,  # every sharer's adapter scores every answer, and answers are long
            started=20,  # the longest history and leakage would take another half hour
            leaks=False,
            timed=4,
            train_seconds=0.1,
            assemble_seconds=0.045,
        ),
    }
)
