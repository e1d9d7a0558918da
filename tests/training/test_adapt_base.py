"""Task adaptation: whose words enter, what it saves, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.errors import MismatchError, UsageError
from idiolect.events import Event, Metrics
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.prompts.context import ContextConfig
from idiolect.storage.manifest import Manifest
from idiolect.tasks.registry import get_task
from idiolect.training import adapt_base as module
from idiolect.training.adapt_base import (
    TASK_ADAPTER_FOLDER,
    AdaptConfig,
    AdaptSummary,
    ExcludedTestSet,
    adapt_to_task,
    read_contributors,
)
from idiolect.training.engine.config import EngineConfig
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from support.tiny_people import LORA, save_tiny_base

TITLES = get_task("lamp-5")
CONFIG = AdaptConfig(
    lora=LORA, train=TrainConfig(batch=2, epochs=2, rate=0.02), dtype="float32", device="cpu"
)
ENGINE = EngineConfig(checkpoint_seconds=0)


def make_author(person: str, *papers: str, voices: dict[str, str] | None = None) -> History:
    """Make a person with papers of these titles; ``voices`` maps titles to people they quote."""
    return History.from_interactions(
        person,
        [
            Interaction(
                id=f"{person}{n}",
                position=n,
                time=float(n),
                fields={"title": paper, "abstract": f"We study {paper.lower()}."},
                voices=(voices[paper],) if voices and paper in voices else (),
            )
            for n, paper in enumerate(papers)
        ],
    )


TESTED = make_author("tess", "Secrets", "Joint work")
OTHERS = [
    make_author("ann", "Ants", "Joint work", "Apes", "Asps"),
    make_author("bob", "Bees", "Quoting Tess", "Bats", voices={"Quoting Tess": "tess"}),
    TESTED,
    make_author("cy", "  JOINT: Work!  "),
]
FORBIDDEN = ("secrets", "joint", "quoting tess")


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return save_tiny_base(tmp_path / "base")


def adapt(base: Base, out: Path, config: AdaptConfig = CONFIG, **options: Any) -> AdaptSummary:
    """Adapt the base to the titles task with default options."""
    given = {"others": OTHERS, "exclusion": ExcludedTestSet(TITLES, [TESTED]), "engine": ENGINE}
    return adapt_to_task(base, TITLES, out=out, config=config, **(given | options))


@pytest.mark.parametrize("retrieval", ["none", "bm25", "recent"])
def test_adapt_to_task_excludes_all_words_of_tested_people(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retrieval: Any
) -> None:
    """Neither their items, nor quotes by others, nor co-authored records, nor retrieved items."""
    seen: list[TrainingJob] = []
    train_many = module.train_many

    def record_jobs(base: Base, jobs: Sequence[TrainingJob], *rest: Any, **options: Any) -> Any:
        seen.extend(jobs)
        return train_many(base, jobs, *rest, **options)

    monkeypatch.setattr(module, "train_many", record_jobs)
    config = replace(CONFIG, context=ContextConfig(retrieval=retrieval, k=9))
    done = adapt(base, tmp_path / "out", config)
    (job,) = seen
    # What the engine saw, as text.
    texts = [str(base.tokenizer.decode(list(e.ids))).casefold() for e in job.examples]
    assert len(texts) == done.items == 5
    for word in FORBIDDEN:
        assert not any(word in text for text in texts)
    for word in ("ants", "apes", "asps", "bees", "bats"):
        assert any(word in text for text in texts)
    # Retrieval works: a prompt shows another item of the same person.
    if retrieval != "none":
        assert any("ants" in text and "asps" in text for text in texts)
    assert dict(done.left_out) == {
        "is a record of a person to be tested": 2,
        "holds words of a person to be tested": 1,
    }
    manifest = Manifest.load(tmp_path / "out", "base")
    assert manifest.contributors == ("ann", "bob")
    assert manifest.base == done.identity


def test_adapt_to_task_saves_base_equal_to_base_with_adapter(base: Base, tmp_path: Path) -> None:
    done = adapt(base, tmp_path / "out")
    adapted = load_base(tmp_path / "out", dtype="float32", device="cpu")
    assert adapted.identity == done.identity != base.identity
    assert adapted.tokenizer_identity == base.tokenizer_identity
    own = load_peft(tmp_path / "out" / TASK_ADAPTER_FOLDER, base)
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        bare = base.model(input_ids=ids).logits
        with stack_adapters(base, [own]).activate(torch.zeros(2, dtype=torch.long)):
            expected = base.model(input_ids=ids).logits
        found = adapted.model(input_ids=ids).logits
    assert (found - expected).abs().max() <= 1e-4
    assert (found - bare).abs().max() > 0.01


def test_adapt_to_task_keeps_contributors_of_parent_base(base: Base, tmp_path: Path) -> None:
    assert read_contributors(base) == ()
    adapt(base, tmp_path / "first")
    first = load_base(tmp_path / "first", dtype="float32", device="cpu")
    adapt(first, tmp_path / "second", others=[make_author("dee", "Dogs", "Deer")])
    second = load_base(tmp_path / "second", dtype="float32", device="cpu")
    assert read_contributors(second) == ("ann", "bob", "dee")
    assert Manifest.read_unchecked(tmp_path / "second").config["parent"] == first.identity


class Crash(Exception):  # noqa: N818
    """Stops a run from outside."""


def test_adapt_to_task_resumes_after_crash_with_same_bytes(base: Base, tmp_path: Path) -> None:
    adapt(base, tmp_path / "whole")
    steps: list[int] = []

    def listener(event: Event, /) -> None:
        if isinstance(event, Metrics):
            steps.append(int(event.values["step"]))
            if len(steps) == 3:
                raise Crash

    with pytest.raises(Crash):
        adapt(base, tmp_path / "out", listener=listener)
    assert not (tmp_path / "out").exists()
    adapt(base, tmp_path / "out", listener=listener)
    assert steps == [1, 2, 3, 3, 4, 5, 6]
    for file in sorted((tmp_path / "whole").rglob("*")):
        other = tmp_path / "out" / file.relative_to(tmp_path / "whole")
        assert file.is_dir() or file.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "out", "whole"]


def test_adapt_to_task_writes_folder_atomically(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_peft", raise_crash)
        with pytest.raises(Crash):
            adapt(base, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.adapting", "base"]
    adapt(base, tmp_path / "out")
    Manifest.load(tmp_path / "out", "base").verify(tmp_path / "out")


def test_adapt_to_task_refuses_base_with_other_weight_names(base: Base, tmp_path: Path) -> None:
    (tmp_path / "renamed").mkdir()
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    renamed = {f"language_{name}": tensor for name, tensor in tensors.items()}
    save_file(renamed, tmp_path / "renamed" / "model.safetensors")
    with pytest.raises(MismatchError, match="no weight named"):
        adapt(replace(base, folder=tmp_path / "renamed"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapt_to_task_without_items_says_why(base: Base, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to adapt on"):
        adapt(base, tmp_path / "out", others=[TESTED])
    with pytest.raises(UsageError, match="is a record of a person to be tested"):
        adapt(base, tmp_path / "out", others=[make_author("cy", "joint work")])
    with pytest.raises(UsageError, match="in memory"):
        adapt(replace(base, folder=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapt_to_task_draws_items_by_seed(base: Base, tmp_path: Path) -> None:
    few = replace(CONFIG, most_items=2)
    one, other = (adapt(base, tmp_path / name, few) for name in ("one", "other"))
    assert one.items == 2 and one.identity == other.identity
    seeded = replace(few, train=replace(few.train, seed=5))
    assert adapt(base, tmp_path / "third", seeded).identity != one.identity


def test_adapt_to_task_without_item_labels_uses_answered_queries(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LaMP-1: items do not contain citations."""
    cites = get_task("lamp-1")

    def make_person_with_query(person: str, title: str, answer: str | None) -> History:
        fields = {"title": title, "option1": "On ants", "option2": "On bees"}
        known = {"citation": answer} if answer else {}
        query = Interaction(id="q", position=9, fields={**fields, **known})
        return replace(make_author(person, f"Paper of {person}"), queries=(query,))

    seen: list[TrainingJob] = []
    train_many = module.train_many

    def record_jobs(base: Base, jobs: Sequence[TrainingJob], *rest: Any, **options: Any) -> Any:
        seen.extend(jobs)
        return train_many(base, jobs, *rest, **options)

    monkeypatch.setattr(module, "train_many", record_jobs)
    # Usable: only ann's query. Bob's has no answer; cy's is a record of the tested person.
    others = [
        make_person_with_query("ann", "Mine", "[2]"),
        make_person_with_query("bob", "Unknown", None),
        make_person_with_query("cy", "Ours", "[1]"),
    ]
    exclusion = ExcludedTestSet(cites, [make_person_with_query("tess", "ours", "[1]")])
    done = adapt_to_task(base, cites, others, exclusion, tmp_path / "out", CONFIG, engine=ENGINE)
    ((example,),) = (job.examples for job in seen)
    assert str(base.tokenizer.decode(list(example.ids[example.answer_start :]))) == "[2]</s>"
    assert done.items == 1 and Manifest.read_unchecked(tmp_path / "out").contributors == ("ann",)
    with pytest.raises(UsageError, match="no answered query of other people is left"):
        adapt_to_task(base, cites, others[1:2], exclusion, tmp_path / "no", CONFIG, engine=ENGINE)
