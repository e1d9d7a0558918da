"""Sizes and settings of the pieces benchmark, each with its reason; knows no model."""

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
"""The paper's modules. On answers only: cheaper, and on film ratings measured no worse."""

TRAIN = TrainConfig(seed=SEED)
GATES = GatesConfig(steps=20, rate=1e-2, seed=SEED)
"""Of five ways tried on 8 development raters the one with the lowest loss, by little (0.6529 nats;
20 steps at 1e-3 0.6576, 50 at 1e-3 0.6564; without pieces 0.6538): ``--develop`` measures it."""
ASSEMBLE = AssembleConfig(by="gates", seed=SEED)
"""As the paper assembles."""
BY_LIKELIHOOD = AssembleConfig(by="likelihood", seed=SEED)
GATES_TRIED = ((5, 1e-3), (20, 1e-4), (20, 1e-3), (20, 1e-2), (50, 1e-3))
"""(steps, rate) of ``--develop``."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many of everything."""

    newcomers: int = 40
    development: int = 8
    """Newcomers on whom settings are chosen; nobody of them is among the others."""
    candidates: int = 90
    """People who may share, a seeded draw: three ways to choose 30 then take 60 or so together."""
    sharers: int = 30
    fewer: tuple[int, ...] = (5, 10, 20)
    history: int = 50
    """Last items that are trained on."""
    known: int = 250
    """Last items by which sharers are chosen."""
    held_out: int = 12
    """Of a sharer, behind those: for the leakage audit."""
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
    """Newcomers at most whose assembling and training are timed, in two groups."""
    pools: tuple[int, ...] = (10, 100, 1_000, 10_000)
    group: int = 8
    """People of one piece of preparation, between which a stop costs nothing."""

    @property
    def longest_history(self) -> int:
        """The longest history of a newcomer."""
        return max(self.lengths)


QUICK = Sizes(
    newcomers=4,
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
"""For tests on the tiny model."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is particular to a task."""

    subject: DemoTask
    queries: int
    """Last items of a newcomer that are asked."""
    strategies: tuple[Strategy, ...] = ("cluster", "most-active", "random")
    """By which sharers are chosen; pieces come from the first one's but where they are compared."""
    few: int
    """Items from which pieces are chosen where one setting after another is tried, for time."""
    likely: int
    """The longest history by which pieces are chosen by likelihood."""
    started: int
    """The longest history with which training starts from pieces."""
    leaks: bool = True
    """Whether leakage is measured."""
    timed: int = 8
    """Newcomers whose assembling and training are timed."""
    train_seconds: float
    """Of one item trained on two cores, for the estimate."""
    assemble_seconds: float
    """Of one item assembled."""


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
            strategies=("cluster",),  # an item takes three times as long as a rating
            few=5,
            likely=20,  # every sharer says every answer, and answers are long
            started=20,  # the rest, and leakage, would take half an hour more
            leaks=False,
            timed=4,
            train_seconds=0.1,
            assemble_seconds=0.045,
        ),
    }
)
