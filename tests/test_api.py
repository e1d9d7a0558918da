"""The API functions on real folders: adapt, personalize, predict, export, import, evaluate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from idiolect import api
from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import require_lora
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import BusyError, MismatchError, MissingError, UsageError
from idiolect.evaluation.runner import EvaluateConfig
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.models.load import load_base
from idiolect.models.ways import Ways
from idiolect.prompts.context import ContextConfig
from idiolect.prompts.render import PromptRenderer
from idiolect.storage.manifest import Manifest
from idiolect.training.adapt_base import AdaptConfig
from idiolect.training.engine.config import EngineConfig
from idiolect.training.runs import run
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig
from support.tiny_people import LORA, RATING, UNGATED, make_rater, save_tiny_base, to_tensor_bytes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
QUESTION = "Film 3 (1990), Drama"
IDS = torch.arange(60, 90).view(2, 15)
ADAPT = AdaptConfig(
    lora=replace(LORA, rank=3, targets=("q_proj", "down_proj")),
    train=TrainConfig(batch=8, epochs=1, rate=0.02),
    dtype="float32",
    device="cpu",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base models, a dataset with a test split, and a store on the first base."""
    place = tmp_path_factory.mktemp("api")
    save_tiny_base(place / "base")
    save_tiny_base(place / "other-base", seed=1)
    people = [
        make_rater(p, n) for p, n in (("ann", 12), ("bob", 9), ("dee", 3), ("oli", 8), ("ova", 8))
    ]
    splits = {h.person: "other" if h.person[0] == "o" else "test" for h in people}
    write_dataset(place / "data", people, task="rating", source="made up", splits=splits)
    personalize(place, place / "store")
    return place


def test_personalize_with_answer_only_adapters_needs_answers_in_histories(place: Path) -> None:
    """Items of LaMP-1 are papers without answers. The error leaves no store behind."""
    papers = [
        Interaction(id=str(n), position=n, fields={"title": f"T {n}", "abstract": "a b"})
        for n in range(8)
    ]
    histories = [History("ann", tuple(papers))]
    write_dataset(
        place / "papers", histories, task="lamp-1", source="made up", splits={"ann": "test"}
    )
    config = replace(UNGATED, lora=replace(UNGATED.lora, active="answer"))
    with pytest.raises(UsageError, match=r"lora\.active 'answer'.*lamp-1"):
        api.personalize(
            api.PersonalizeRequest(
                data=place / "papers", store=place / "none", config=config, base=str(place / "base")
            )
        )
    assert not (place / "none").exists()


def test_personalize_with_layout_that_is_not_right_leaves_no_store(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_without_packing(*source: Any, **options: Any) -> Any:
        return replace(load_base(*source, **options), ways=Ways(packed=False))

    monkeypatch.setattr(run, "load_base", load_without_packing)
    with pytest.raises(UsageError, match=r"engine\.layout 'packed'.*'rows'"):
        personalize(place, place / "none", engine=EngineConfig(layout="packed"))
    assert not (place / "none").exists()


def personalize(place: Path, store: Path, base: str = "base", **options: Any) -> Any:
    given = {"config": UNGATED, "base": str(place / base)} | options
    return api.personalize(api.PersonalizeRequest(data=place / "data", store=store, **given))


@torch.no_grad()
def compute_peft_logits(base: Path, folder: Path) -> torch.Tensor:
    """Logits of an exported adapter in PEFT, on a model that transformers loads."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with_adapter = peft.PeftModel.from_pretrained(model, str(folder)).eval()
    return with_adapter(input_ids=IDS).logits


@torch.no_grad()
def compute_store_logits(base: Path, store: Path, person: str) -> torch.Tensor:
    """Logits of a stored adapter in our own stack."""
    loaded = load_base(base, dtype="float32", device="cpu")
    adapter = AdapterStore.open(store).get_adapter(person)
    assert adapter is not None
    with stack_adapters(loaded, [adapter]).activate(torch.zeros(2, dtype=torch.long)):
        return loaded.model(input_ids=IDS).logits


def test_export_gives_same_logits_in_peft(place: Path, tmp_path: Path) -> None:
    """Invariant 3, on adapters that were trained by ``personalize``."""
    assert (
        api.export(api.ExportRequest(store=place / "store", person="ann", out=tmp_path / "ann"))
        == tmp_path / "ann"
    )
    found = compute_peft_logits(place / "base", tmp_path / "ann")
    assert (
        found - compute_store_logits(place / "base", place / "store", "ann")
    ).abs().max() <= 1e-4
    bob = compute_store_logits(place / "base", place / "store", "bob")
    assert (found - bob).abs().max() > 1e-3
    assert b"ann" not in b"".join(p.read_bytes() for p in (tmp_path / "ann").iterdir())


def test_predict_equals_likelihoods_of_exported_adapter(place: Path, tmp_path: Path) -> None:
    found = api.predict(api.PredictRequest(store=place / "store", person="ann", text=QUESTION))
    assert (found.person, found.task, found.served_by) == ("ann", "rating", "adapter")
    assert list(found.probabilities) == list(RATING.choices)
    api.export(api.ExportRequest(store=place / "store", person="ann", out=tmp_path / "ann"))
    loaded = load_base(place / "base", dtype="float32", device="cpu")
    model = peft.PeftModel.from_pretrained(loaded.model, str(tmp_path / "ann")).eval()
    prompter = PromptRenderer(loaded.tokenizer, UNGATED.prompt)
    item = replace(make_rater("x", 1).items[0], fields=RATING.parse_input(QUESTION))
    ids = prompter.encode_prompt(RATING.prompt(item), reserve_tokens=1)
    with torch.no_grad():
        last = model(input_ids=torch.tensor([ids])).logits[0, -1]
    tokens = [prompter.encode_answer(choice)[0] for choice in RATING.choices]
    expected = torch.softmax(last[tokens].double(), dim=-1).tolist()
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-5)
    below = [sum(expected[: n + 1]) for n in range(5)]
    assert found.text == RATING.choices[next(n for n, s in enumerate(below) if s >= 0.5)]


def test_predict_without_adapter_is_served_by_base(place: Path) -> None:
    assert (
        api.predict(
            api.PredictRequest(store=place / "store", person="dee", text=QUESTION)
        ).served_by
        == "base"
    )
    assert AdapterStore.open(place / "store").get_record("dee") is not None


def test_export_on_public_stacks_task_adapter(place: Path, tmp_path: Path) -> None:
    adapted = api.adapt(
        api.AdaptRequest(
            data=place / "data", out=tmp_path / "adapted", base=str(place / "base"), config=ADAPT
        )
    )
    assert adapted.people == 2
    assert Manifest.read_unchecked(tmp_path / "adapted").contributors == ("oli", "ova")
    store, options = tmp_path / "store", {"base": str(tmp_path / "adapted")}
    personalize(place, store, people=("ann",), **options)
    expected = compute_store_logits(tmp_path / "adapted", store, "ann")
    api.export(api.ExportRequest(store=store, person="ann", out=tmp_path / "own"))
    assert (
        compute_peft_logits(tmp_path / "adapted", tmp_path / "own") - expected
    ).abs().max() <= 1e-4
    api.export(api.ExportRequest(store=store, person="ann", out=tmp_path / "stacked", on="public"))
    stacked = compute_peft_logits(place / "base", tmp_path / "stacked")
    assert (stacked - expected).abs().max() <= 1e-4
    loaded = load_base(place / "base", dtype="float32", device="cpu")
    assert require_lora(load_peft(tmp_path / "stacked", loaded)).config.rank == 8
    with pytest.raises(UsageError, match="has no task adapter"):
        api.export(
            api.ExportRequest(
                store=place / "store", person="ann", out=tmp_path / "nothing", on="public"
            )
        )
    assert not (tmp_path / "nothing").exists()


def test_import_adapter_restores_exported_bytes(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "store", tmp_path / "store")
    api.export(api.ExportRequest(store=place / "store", person="ann", out=tmp_path / "ann"))
    imported = api.import_adapter(
        api.ImportAdapterRequest(folder=tmp_path / "ann", store=tmp_path / "store", person="zoe")
    )
    before, after = AdapterStore.open(place / "store"), AdapterStore.open(tmp_path / "store")
    adapter = before.get_adapter("ann")
    assert adapter is not None and imported.bytes == adapter.num_bytes
    assert to_tensor_bytes(after.get_adapter("zoe")) == to_tensor_bytes(adapter)
    assert after.people == (*before.people, "zoe")
    with pytest.raises(UsageError, match="'bob' already has an adapter"):
        api.import_adapter(
            api.ImportAdapterRequest(
                folder=tmp_path / "ann", store=tmp_path / "store", person="bob"
            )
        )
    api.import_adapter(
        api.ImportAdapterRequest(
            folder=tmp_path / "ann", store=tmp_path / "store", person="bob", replace=True
        )
    )
    assert to_tensor_bytes(
        AdapterStore.open(tmp_path / "store").get_adapter("bob")
    ) == to_tensor_bytes(adapter)
    shown = [
        api.predict(
            api.PredictRequest(store=tmp_path / "store", person=p, text=QUESTION)
        ).probabilities
        for p in ("ann", "zoe")
    ]
    assert shown[0] == shown[1]


def test_import_adapter_and_personalize_refuse_other_config_or_base(
    place: Path, tmp_path: Path
) -> None:
    wide = replace(UNGATED, lora=replace(LORA, rank=4))
    personalize(place, tmp_path / "wide", config=wide, people=("ann",))
    api.export(api.ExportRequest(store=tmp_path / "wide", person="ann", out=tmp_path / "out"))
    with pytest.raises(MismatchError, match=r"has rank 4.*the store has rank 2"):
        api.import_adapter(
            api.ImportAdapterRequest(folder=tmp_path / "out", store=place / "store", person="zoe")
        )
    with pytest.raises(MismatchError, match="use another adapter store"):
        personalize(place, place / "store", config=wide)
    with pytest.raises(MismatchError, match="made for base"):
        api.predict(
            api.PredictRequest(
                store=place / "store", person="ann", text=QUESTION, base=str(place / "other-base")
            )
        )
    with pytest.raises(MismatchError, match="made for base"):
        personalize(place, place / "store", base="other-base")
    assert AdapterStore.open(place / "store").get_record("zoe") is None


def test_functions_name_unknown_people_stores_and_formats(place: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no person named 'eve' among its people, e\.g\. 'ann'"):
        api.predict(api.PredictRequest(store=place / "store", person="eve", text=QUESTION))
    with pytest.raises(MissingError, match="'dee', who is served by the base"):
        api.export(api.ExportRequest(store=place / "store", person="dee", out=tmp_path / "out"))
    with pytest.raises(MissingError, match="'eve', who is not in the store"):
        api.export(api.ExportRequest(store=place / "store", person="eve", out=tmp_path / "out"))
    with pytest.raises(MissingError, match="no person named 'eve'"):
        personalize(place, tmp_path / "store", people=("ann", "eve"))
    assert not (tmp_path / "store").exists()
    none = tmp_path / "none"
    with pytest.raises(MissingError, match="no adapter store there"):
        api.predict(api.PredictRequest(store=none, person="ann", text=QUESTION))
    with pytest.raises(MissingError, match="no adapter store there"):
        api.export(api.ExportRequest(store=none, person="ann", out=tmp_path / "out"))
    with pytest.raises(UsageError, match="unknown format 'gguf'"):
        api.export(
            api.ExportRequest(
                store=place / "store", person="ann", out=tmp_path / "out", format="gguf"
            )
        )
    assert not (tmp_path / "out").exists()


def test_functions_require_profiles_and_data_that_prompts_need(place: Path, tmp_path: Path) -> None:
    config = replace(UNGATED, context=ContextConfig(retrieval="bm25", profile=True))
    with pytest.raises(UsageError, match="name the profiles"):
        personalize(place, tmp_path / "store", config=config)
    profiles = tmp_path / "profiles"
    assert (
        api.profile(api.ProfileRequest(data=place / "data", out=profiles, writer="facts")).people
        == 5
    )
    personalize(place, tmp_path / "store", config=config, profiles=profiles, people=("ann",))
    request = api.PredictRequest(store=tmp_path / "store", person="ann", text=QUESTION)
    with pytest.raises(UsageError, match=r"with bm25 retrieval; also name .* dataset"):
        api.predict(replace(request, profiles=profiles))
    with pytest.raises(UsageError, match="trained with profiles"):
        api.predict(replace(request, data=place / "data"))
    found = api.predict(replace(request, data=place / "data", profiles=profiles))
    assert found.served_by == "adapter" and sum(found.probabilities.values()) == pytest.approx(1)


def test_personalize_on_locked_store_raises_busy_error(place: Path) -> None:
    with AdapterStore.open(place / "store").lock_for_writing():
        with pytest.raises(BusyError, match=r"the adapter store .* is in use"):
            personalize(place, place / "store", wait=False)
        assert (
            api.predict(
                api.PredictRequest(store=place / "store", person="ann", text=QUESTION)
            ).served_by
            == "adapter"
        )


def test_evaluate_writes_report(place: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(personal=UNGATED, queries=2, dtype="float32", device="cpu")
    out, options = tmp_path / "report", {"base": str(place / "base"), "config": config}
    report = api.evaluate(
        api.EvaluateRequest(data=place / "data", out=out, methods=("base", "oppu"), **options)
    )
    assert json.loads((out / "report.json").read_text()) == report
    (task,) = report["tasks"]
    assert task["people"] == 2  # of the test split, those with enough items
    assert (out / "report.html").stat().st_size > 1000
    assert list(out.glob("*.png")) and (out / "metrics.jsonl").is_file()
    assert "NaN" not in (out / "report.json").read_text()
    with pytest.raises(UsageError, match="9 people are wanted, but only 2"):
        api.evaluate(api.EvaluateRequest(data=place / "data", out=out, people=9, **options))
    with pytest.raises(MissingError, match="no person named 'eve'"):
        api.evaluate(api.EvaluateRequest(data=place / "data", out=out, people=("eve",), **options))


def test_adapt_requires_new_folder_and_remaining_people(place: Path, tmp_path: Path) -> None:
    options = {"base": str(place / "base"), "config": ADAPT}
    with pytest.raises(UsageError, match="already exists"):
        api.adapt(api.AdaptRequest(data=place / "data", out=tmp_path, **options))
    with pytest.raises(UsageError, match="nothing to adapt on"):
        api.adapt(
            api.AdaptRequest(
                data=place / "data", out=tmp_path / "out", exclude=("oli", "ova"), **options
            )
        )
    assert not (tmp_path / "out").exists()


def test_api_exports_config_classes_lazily() -> None:
    assert api.PersonalConfig is PersonalConfig and api.AdaptConfig is AdaptConfig
    with pytest.raises(AttributeError):
        _ = api.Nothing
