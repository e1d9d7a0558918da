"""The API and the command line with a quantized base: what is recorded, warned of and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import UsageError
from idiolect.events import Event, Message
from idiolect.history.write import write_dataset
from idiolect.models.folder import probe
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import load_base
from idiolect.storage.manifest import Manifest
from support.known_models import probe_known_model
from support.model_families import SIZES, save_random_model
from support.run_cli import run_cli, run_cli_json
from support.tiny_people import UNGATED, make_rater
from support.unlearning_sets import CONFIG, FORGET, RETAIN

pytest.importorskip("bitsandbytes")

WIDE: dict[str, Any] = {
    **SIZES,
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 1024,
}
IN_NF4 = replace(UNGATED, quantize="nf4")
QUESTION = "Film 3 (1990), Drama"


@pytest.fixture(scope="module", autouse=True)
def measure_models_here() -> Iterator[None]:
    """Try the models in this process: a new one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_run_probe", probe_known_model)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, its copy with weights in nf4, a dataset, and a store that was trained in nf4."""
    place = tmp_path_factory.mktemp("quantized")
    save_random_model(LlamaConfig(**WIDE), place / "base")
    small = load_base(place / "base", dtype="float32", device="cpu", quantize="nf4")
    with silence_transformers():
        small.model.save_pretrained(place / "small")
        small.tokenizer.save_pretrained(place / "small")
    write_dataset(place / "data", [make_rater("ann", 8)], task="rating", source="made up")
    personalize(place, place / "store", config=IN_NF4)
    return place


def personalize(place: Path, store: Path, base: str = "base", **options: Any) -> Any:
    request = api.PersonalizeRequest(
        data=place / "data", store=store, base=str(place / base), **options
    )
    return api.personalize(request)


def read_record(store: Path) -> Any:
    return AdapterStore.open(store).get_record("ann")


def test_personalize_records_how_the_base_was_quantized(place: Path, tmp_path: Path) -> None:
    assert read_record(place / "store").quantization == "nf4"
    # Training again on the same base does nothing; on another one it trains.
    store = tmp_path / "store"
    personalize(place, store, config=UNGATED)
    assert read_record(store).quantization == "none"
    assert personalize(place, store, config=UNGATED).trained == ()
    assert personalize(place, store, config=IN_NF4).trained == ("ann",)
    assert read_record(store).quantization == "nf4"


def test_personalize_on_a_quantized_folder_records_it(place: Path, tmp_path: Path) -> None:
    personalize(place, tmp_path / "store", "small", config=UNGATED)
    assert read_record(tmp_path / "store").quantization == "nf4"
    request = api.PredictRequest(store=tmp_path / "store", person="ann", text=QUESTION)
    assert api.predict(request).warning == ""


def test_predict_warns_if_the_base_is_quantized_otherwise(place: Path) -> None:
    asked = ("predict", place / "store", "--person", "ann", "--input", QUESTION)
    assert run_cli(*asked).stderr == ""
    warned = run_cli(*asked, "--quantize", "none")
    assert warned.stderr == (
        "warning: the adapter was made on a base in nf4 and runs on an unquantized base: answers "
        "may differ\n"
    )
    assert warned.stdout.strip()
    found = run_cli_json(*asked, "--quantize", "int8")
    assert "a base in nf4 and runs on a base in int8" in found["warning"]
    refused = run_cli(*asked, "--quantize", "nf3", code=2)
    assert "'nf3' is not one of none, nf4" in refused.stderr


def test_export_and_import_keep_the_quantization(place: Path, tmp_path: Path) -> None:
    api.export(api.ExportRequest(store=place / "store", person="ann", out=tmp_path / "ann"))
    assert Manifest.read_unchecked(tmp_path / "ann").config["quantization"] == "nf4"
    store = tmp_path / "store"
    personalize(place, store, config=UNGATED)
    api.import_adapter(
        api.ImportAdapterRequest(folder=tmp_path / "ann", store=store, person="ann", replace=True)
    )
    assert read_record(store).quantization == "nf4"
    answer = api.predict(api.PredictRequest(store=store, person="ann", text=QUESTION))
    assert answer.warning.endswith("runs on an unquantized base: answers may differ")


def test_personalize_tells_that_the_start_is_of_another_quantization(
    place: Path, tmp_path: Path
) -> None:
    api.export(api.ExportRequest(store=place / "store", person="ann", out=tmp_path / "ann"))
    heard: list[Event] = []
    request = api.PersonalizeRequest(
        data=place / "data",
        store=tmp_path / "store",
        base=str(place / "base"),
        config=UNGATED,
        start=tmp_path / "ann",
    )
    api.personalize(request, listener=heard.append)
    texts = [event.text for event in heard if isinstance(event, Message)]
    assert sum("made on a base in nf4" in text for text in texts) == 1


def test_commands_that_change_weights_refuse_a_quantized_base(place: Path, tmp_path: Path) -> None:
    base, out = str(place / "small"), tmp_path / "out"
    with pytest.raises(UsageError, match=r"task adaptation changes .*small is quantized \(nf4\)"):
        api.adapt(api.AdaptRequest(data=place / "data", base=base, out=out))
    for name, pairs in (("forget", FORGET), ("retain", RETAIN)):
        lines = [json.dumps({"prompt": p.prompt, "response": p.response}) for p in pairs]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    request = api.UnlearnRequest(
        target=base,
        out=out,
        forget=str(tmp_path / "forget.jsonl"),
        retain=str(tmp_path / "retain.jsonl"),
        config=CONFIG,
    )
    with pytest.raises(UsageError, match=r"unlearning changes .* quantized \(nf4\)"):
        api.unlearn(request)
    assert not out.exists()
