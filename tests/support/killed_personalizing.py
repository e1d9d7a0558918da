"""Runs of personalization in their own process, which a test kills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import to_plain
from idiolect.models.tiny import make_tiny_base
from idiolect.privacy.ledger import Ledger
from idiolect.storage.metrics_log import MetricsLog
from idiolect.training.engine.config import EngineConfig
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import RunContext
from idiolect.training.schedule import TrainConfig
from support.tiny_people import RATING, UNGATED, make_rater

PEOPLE = [make_rater(f"p{n}", 10 + n) for n in range(6)] + [make_rater("few", 2)]
CONFIG = replace(UNGATED, train=TrainConfig(batch=3, epochs=3))
SHARD = 2


def personalize_all(folder: str, metrics: str) -> None:
    """Train all people into a store, with a checkpoint after each step."""
    torch.set_num_threads(1)
    base = make_tiny_base()
    store = AdapterStore.create(
        Path(folder),
        base,
        source="tiny",
        task="rating",
        config=CONFIG.lora,
        settings=to_plain(CONFIG),
    )
    with store.lock_for_writing():
        Personalizer(
            RunContext(
                base=base,
                task=RATING,
                config=CONFIG,
                engine=EngineConfig(slots=2, checkpoint_seconds=0),
            ),
            store,
            shard=SHARD,
            ledger=Ledger(Path(folder) / "ledger"),
            listener=MetricsLog(Path(metrics)),
        ).run(PEOPLE)


def train_shard(data: str, store: str, base: str, shard: str) -> None:
    """Train one shard of a run."""
    torch.set_num_threads(1)
    api.personalize(
        api.PersonalizeRequest(
            data=Path(data), store=Path(store), base=base, config=UNGATED, shard=shard
        )
    )
