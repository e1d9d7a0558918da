"""A world of people who chat with each other, with everything that can be made from their data.

Annabel is forgotten. Bartholomew chatted with her; Cressida and Dorothea chatted only with each
other.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from idiolect import api
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.store.store import AdapterStore
from idiolect.evaluation.runner import EvaluateConfig, EvaluationRunner
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.models.load import load_base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig, RecipeConfig
from idiolect.pieces.sharing.harm import HarmConfig
from idiolect.pieces.sharing.selection import SharersConfig
from idiolect.pieces.sharing.sharing import ShareConfig
from idiolect.pieces.sharing.train_gates import GatesConfig
from idiolect.prompts.render import PromptConfig
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import AdaptConfig
from idiolect.training.engine.config import EngineConfig
from idiolect.training.schedule import TrainConfig
from support.small_means import make_small_mean
from support.tiny_people import UNGATED, save_tiny_base

ANN, BART, CRESS, DORA = "annabel", "bartholomew", "cressida", "dorothea"
PEOPLE = (ANN, BART, CRESS, DORA)
LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "k_proj", "v_proj", "o_proj"))
CONFIG = replace(UNGATED, lora=LORA, prompt=PromptConfig(max_tokens=96))
RECIPES = RecipeConfig(
    assemble=AssembleConfig(by="gates", top_k=1),
    prompt=CONFIG.prompt,
    dtype="float32",
    device="cpu",
)
SHARE = ShareConfig(
    sharers=SharersConfig(strategy="most-active", sharers=9, least_items=2),
    gates=GatesConfig(steps=4, rate=0.01, batch=4),
    harm=HarmConfig(on=False),
)
_WORDS = [
    "amber",
    "basil",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jolly",
    "knoll",
    "lemon",
    "maple",
    "nook",
]


def make_sentence(person: str, number: int) -> str:
    """Return a sentence that only this person writes."""
    rng = random.Random(f"{person}{number}")
    return f"{' '.join(rng.choices(_WORDS, k=5))} {person[:3]}{number}"


def make_chat(person: str, other: str, count: int, *, named: bool = True) -> History:
    """Return a person's replies to another person's lines."""
    items = [
        Interaction(
            id=f"{person}-{n}",
            position=n,
            time=60.0 * n,
            fields={
                "context": f"them: {make_sentence(other, n)}"
                + (f"\nme: {make_sentence(person, n - 1)}" if n else ""),
                "reply": make_sentence(person, n),
            },
            voices=(other,) if named else (),
        )
        for n in range(count)
    ]
    return History.from_interactions(person, items).hold_out(2)


def make_histories() -> list[History]:
    """Return the chats of all four people."""
    return [
        make_chat(ANN, BART, 9),
        make_chat(BART, ANN, 10),
        make_chat(CRESS, DORA, 11),
        make_chat(DORA, CRESS, 8),
    ]


@dataclass(frozen=True)
class ErasureWorld:
    """A folder with ``base``, ``data``, ``store``, and other artifacts."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def forget(self, person: str = ANN, **options: Any) -> Any:
        return api.forget(
            api.ForgetRequest(data=self.data, adapters=self.store, person=person, **options)
        )

    def personalize(self, store: Path, data: Path | None = None, **options: Any) -> Any:
        arguments: dict[str, Any] = {"base": str(self.base), "config": CONFIG} | options
        return api.personalize(
            api.PersonalizeRequest(data=data or self.data, store=store, **arguments)
        )

    def read_files(self) -> dict[str, bytes]:
        """Read all files in the world except the base and locks."""
        out: dict[str, bytes] = {}
        for path in sorted(self.folder.rglob("*")):
            within = path.relative_to(self.folder)
            if path.is_file() and within.parts[0] != "base" and ".lock" not in path.name:
                out[str(within)] = path.read_bytes()
        return out


def build_trained_world(folder: Path) -> ErasureWorld:
    """Build a base, a dataset, and a store with an adapter for each person."""
    place = ErasureWorld(folder)
    save_tiny_base(place.base)
    write_dataset(place.data, make_histories(), task="reply", source=f"chat: of {ANN}")
    place.personalize(place.store)
    return place


def build_full_world(folder: Path) -> ErasureWorld:
    """Build what all commands make: profiles, exports, a mean and adapters that started from it, an
    adapted base, a pool with recipes and adapters that started from them, an imported copy, a
    report, and unfinished work."""
    place = build_trained_world(folder)
    out = place.folder
    api.profile(api.ProfileRequest(data=place.data, out=out / "profiles", writer="facts"))
    api.export(api.ExportRequest(store=place.store, person=ANN, out=out / "out" / "hers"))
    api.export(api.ExportRequest(store=place.store, person=CRESS, out=out / "out" / "cress"))
    api.consent(api.ConsentRequest(store=place.store, people=PEOPLE, scope="mean"))
    api.consent(api.ConsentRequest(store=place.store, people=PEOPLE, scope="pieces"))
    make_small_mean(place.store, [ANN, CRESS], out / "out" / "mean")
    make_small_mean(place.store, [CRESS, DORA], out / "out" / "other-mean")
    place.personalize(out / "from-mean", start=out / "out" / "mean")
    place.personalize(out / "from-other", start=out / "out" / "other-mean")
    place.personalize(out / "copies", people=[DORA])
    api.import_adapter(
        api.ImportAdapterRequest(
            folder=out / "out" / "hers", store=out / "copies", person="imported"
        )
    )
    adapt_config = AdaptConfig(
        train=TrainConfig(epochs=1, batch=8, rate=1e-3), prompt=CONFIG.prompt
    )
    adapt_config = replace(adapt_config, dtype="float32", device="cpu")
    api.adapt(
        api.AdaptRequest(
            data=place.data, out=out / "adapted", base=str(place.base), config=adapt_config
        )
    )
    place.personalize(out / "on-adapted", base=str(out / "adapted"), people=[BART, DORA])
    api.share(
        api.ShareRequest(
            store=place.store,
            data=place.data,
            pool=out / "pool",
            config=SHARE,
            engine=EngineConfig(slots=2),
            people=[ANN, CRESS],
            override_leakage="a test",
        )
    )
    api.assemble(
        api.AssembleRequest(data=place.data, pool=out / "pool", out=out / "recipes", config=RECIPES)
    )
    _write_report(place, out / "report")
    (place.store / "checkpoint.bin").write_bytes(b"unfinished work")
    return place


def _write_report(place: ErasureWorld, out: Path) -> None:
    """Write a report as ``evaluate`` does, without the plots."""
    config = EvaluateConfig(
        methods=("base", "oppu"), personal=CONFIG, dtype="float32", device="cpu"
    )
    runner = EvaluationRunner(
        {"plain": load_erasure_base(place)}, get_task("reply"), config, out / "work"
    )
    found = runner.compare_methods(list(read_dataset(place.data)), dataset="data", base="the base")
    scores = {answer.person: answer.gold_nll for answer in found.runs[0].answers}
    task = {"task": "reply", "key": "reply", "methods": [{"scores": {"x": {"per_person": scores}}}]}
    report = {"format": "idiolect-report", "version": 1, "tasks": [task]}
    (out / "report.json").write_text(json.dumps(report))
    (out / "report.html").write_text(f"<p>{make_sentence(ANN, 8)}</p>")
    (out / "reply-people.png").write_bytes(b"a picture")


def copy_world(template: ErasureWorld, folder: Path) -> ErasureWorld:
    """Copy a world, with a link to the same base."""
    shutil.copytree(
        template.folder, folder, ignore=lambda at, names: ["base"] if "base" in names else []
    )
    (folder / "base").symlink_to(template.base)
    return ErasureWorld(folder)


def open_store(place: ErasureWorld, store: str) -> AdapterStore:
    return AdapterStore.open(place.folder / store)


def open_pool(place: ErasureWorld) -> Pool:
    return Pool.open(place.folder / "pool")


def load_erasure_base(place: ErasureWorld) -> Any:
    return load_base(place.base, dtype="float32", device="cpu")
