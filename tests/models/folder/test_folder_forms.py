"""What people name instead of a base: each form is refused with one line that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from idiolect.errors import IdiolectError
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import load_base
from support.tiny_people import write_tiny_folder

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "little"
    write_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_folder, tmp_path / "little"))


def leave_only(folder: Path, **files: str) -> None:
    """Empty the folder, and write files with these texts; ``_json`` at the end of a name stands for
    the suffix."""
    for path in folder.iterdir():
        path.unlink()
    for name, text in files.items():
        (folder / name.replace("_json", ".json").replace("_gguf", ".gguf")).write_text(text)


def replace_weights(folder: Path, *names: str, text: str = "x") -> None:
    (folder / WEIGHTS).unlink()
    for name in names:
        (folder / name).write_text(text)


def make_cached(folder: Path) -> None:
    inner = folder / "snapshots" / "abc"
    inner.mkdir(parents=True)
    for path in [one for one in folder.iterdir() if one.is_file()]:
        path.rename(inner / path.name)


def write_index(folder: Path, *names: str) -> None:
    places = {f"weight.{number}": name for number, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def remove_one_shard(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00003.safetensors")
    write_index(folder, *(f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)))


def name_outer_shard(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    write_index(folder, f"../{WEIGHTS}")


def set_family(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def remove_tokenizer(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


BOTH = ("tokenizer.json", "tokenizer_config.json")
ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "someone/llama"})
ENCODER = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
FORMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "adapter": (
        lambda f: leave_only(f, adapter_config_json=ADAPTER),
        r"is an adapter in PEFT's format, .* made for the base 'someone/llama': name that base",
    ),
    "adapter without base": (
        lambda f: leave_only(f, adapter_config_json="{}"),
        r"is an adapter in PEFT's format, .* for the base \(it names none\)",
    ),
    "broken adapter": (
        lambda f: leave_only(f, adapter_config_json="["),
        r"adapter_config\.json: not a JSON object",
    ),
    "folder with GGUF": (
        lambda f: leave_only(f, a_gguf="GGUF", b_gguf="GGUF"),
        r"no config\.json there, .* GGUF files for llama\.cpp \(a\.gguf and 1 more\)",
    ),
    "GGUF with config": (
        lambda f: replace_weights(f, "a.gguf"),
        r"no \.safetensors weights there; it has GGUF \(a\.gguf\), .* copy the model's",
    ),
    "original format": (
        lambda f: leave_only(f, params_json="{}"),
        r"params\.json shows another format than transformers'",
    ),
    "hub's cache": (make_cached, r"no config\.json there, .*little/snapshots/abc is one"),
    "empty folder": (leave_only, r"no config\.json there, .* name a folder with config\.json"),
    "pickled": (
        lambda f: replace_weights(f, "pytorch_model.bin"),
        r"pickled weights \(pytorch_model\.bin\) are never loaded, .* convert the model",
    ),
    "other framework": (
        lambda f: replace_weights(f, "tf_model.h5"),
        r"tf_model\.h5 is for another framework",
    ),
    "no weights": (replace_weights, r"no \.safetensors weights there; copy the model's"),
    "Git LFS": (
        lambda f: replace_weights(f, WEIGHTS, text="version https://git-lfs.github.com/spec/v1"),
        r"model\.safetensors: is a pointer of Git LFS .* git lfs pull",
    ),
    "shard missing": (
        remove_one_shard,
        r"2 of 3 weight files are missing \(model-00002-of-00003\.safetensors and 1 more\)",
    ),
    "shard outside": (name_outer_shard, r"1 of 1 weight files are missing \(\.\./model"),
    "index without map": (
        lambda f: ((f / WEIGHTS).unlink(), (f / INDEX).write_text("{}")),
        r"index\.json: has no weight_map",
    ),
    "no tokenizer": (
        lambda f: remove_tokenizer(f, *BOTH, "chat_template.jinja"),
        r"little: no tokenizer there; copy the model's tokenizer\.json",
    ),
    "tokenizer's words missing": (
        lambda f: remove_tokenizer(f, "tokenizer.json"),
        r"its tokenizer cannot be loaded: Couldn't instantiate .* from one of: \(1\) a .*\(2\)",
    ),
    "T5": (
        lambda f: set_family(f, model_type="t5", architectures=["T5ForConditionalGeneration"]),
        r"config\.json: names T5ForConditionalGeneration, an encoder with a decoder, which is no",
    ),
    "encoder": (
        lambda f: set_family(f, **ENCODER),
        r"config\.json: names BertForMaskedLM, which is no causal language model; use a model that",
    ),
    "unknown head": (
        lambda f: set_family(f, model_type="clip", architectures=None),
        r"config\.json: names 'clip', which is no causal language model",
    ),
    "classifier": (
        lambda f: set_family(f, architectures=["LlamaForSequenceClassification"]),
        r"config\.json: names LlamaForSequenceClassification, which is no causal language model",
    ),
    "remote code": (
        lambda f: set_family(f, model_type="theirs", auto_map={"AutoConfig": "theirs.Config"}),
        r"config\.json: needs code that comes with it, which is never run; use another model",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_load_base_names_the_form_that_it_refuses(form: str, folder: Path) -> None:
    change, words = FORMS[form]
    change(folder)
    with pytest.raises(IdiolectError, match=words) as caught:
        load_base(folder, device="cpu")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.gguf", r"is a GGUF file, .* name the model that it was made from: a folder with"),
        ("model.safetensors", "is a file, not the folder of a model; name its folder"),
    ],
)
def test_load_base_says_what_a_file_is(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("GGUF")
    with pytest.raises(IdiolectError, match=f"{name}: {words}"):
        load_base(tmp_path / name, device="cpu")


def test_load_base_takes_shards_and_files_beside_them(folder: Path) -> None:
    plain = load_base(folder, dtype="float32", device="cpu")
    with silence_transformers():
        plain.model.save_pretrained(folder, max_shard_size="40KB")
    (folder / WEIGHTS).unlink(missing_ok=True)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    for name in ("pytorch_model.bin", "a.gguf", "tf_model.h5"):
        (folder / name).write_text("x")
    assert load_base(folder, dtype="float32", device="cpu").name == "little"
