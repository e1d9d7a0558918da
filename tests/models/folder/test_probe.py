"""Foreign models: sizes that do not fit, templates that never end, settings that are not obeyed."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Mamba2Config

from idiolect.errors import IntegrityError, MismatchError, MissingError
from idiolect.judging.hub import SequenceClassifierJudge
from idiolect.models.folder import probe
from idiolect.models.folder.bundled import get_cache_folder
from idiolect.models.folder.foreign_config import load_model_config
from idiolect.models.folder.probe import ProbeResult, check_foreign_model
from idiolect.models.load import load_base
from support.tiny_people import write_tiny_folder

pytestmark = pytest.mark.finding("foreign-base")
CAUSAL = "AutoModelForCausalLM"
LONG_TEMPLATE = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    "{{ messages[0].content }}"
)
"""Takes an hour or so."""


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "little"
    write_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_folder, tmp_path / "little"))


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model was tried before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_check_foreign_model_ends_template_that_runs_too_long(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_probe: Callable[[Path, str, float], ProbeResult],
) -> None:
    monkeypatch.setattr(probe, "_run_probe", run_probe)
    (folder / "chat_template.jinja").write_text(LONG_TEMPLATE)
    monkeypatch.chdir(tmp_path)
    # A file in the working folder does not take the place of a library.
    (tmp_path / "transformers.py").write_text("open('pwned', 'w')")
    with pytest.raises(MismatchError, match="did not load within 1 seconds"):
        check_foreign_model(folder, CAUSAL, seconds=1)
    assert not Path("pwned").exists()


def test_check_foreign_model_remembers_what_was_tried(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def note_folder(folder: Path, *_: object) -> ProbeResult:
        tried.append(folder)
        return ProbeResult(numbers=7)

    monkeypatch.setattr(probe, "_run_probe", note_folder)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    for one in (folder, folder, other):
        check_foreign_model(one, CAUSAL)
    assert tried == [folder]
    assert len(list((get_cache_folder() / "probes").glob("*.json"))) == 1
    # Whatever can change the outcome is tried again.
    (other / "chat_template.jinja").write_text("x")
    edit_config(folder, vocab_size=300)
    for one in (other, folder):
        check_foreign_model(one, CAUSAL)
    assert tried == [folder, other, folder]


@pytest.mark.parametrize(
    "fields",
    [{"vocab_size": 10**9}, {"intermediate_size": 10**8}, {"hidden_size": 32, "head_dim": 10**6}],
    ids=str,
)
def test_load_base_compares_declared_sizes_with_weight_files(
    folder: Path, fields: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_config(folder, **fields)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("allocates the model")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(IntegrityError, match=r"config declares .* numbers, and its weight files"):
        load_base(folder, device="cpu")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_load_base_refuses_huge_file_unread(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        os.truncate(file.fileno(), 10**10)  # takes no space
    with pytest.raises(IntegrityError, match=f"{name}: has 10,000,000,000 bytes"):
        load_base(folder, device="cpu")


def test_load_base_does_not_obey_how_config_wants_to_run(folder: Path) -> None:
    edit_config(
        folder,
        attn_implementation="someone/kernel",
        _attn_implementation="someone/kernel",
        _attn_implementation_internal="someone/kernel",
        _experts_implementation="someone/kernel",
        dtype="float16",
        torch_dtype="float16",
        auto_map={"AutoConfig": "evil.Config"},
    )
    config = load_model_config(folder)
    assert "someone/kernel" not in json.dumps(config.to_dict())
    base = load_base(folder, dtype="float32", device="cpu")
    assert base.dtype == torch.float32
    assert base.model.config._attn_implementation == "idiolect"


def test_judge_does_not_obey_how_config_wants_to_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_config(
        folder, _attn_implementation="someone/kernel", dtype="float16", id2label={0: "a", 1: "b"}
    )
    asked: dict[str, Any] = {}

    def note_options(*_: object, **options: Any) -> None:
        asked.update(options)
        raise OSError("stop here")

    monkeypatch.setattr(
        "transformers.AutoModelForSequenceClassification.from_pretrained", note_options
    )
    with pytest.raises(MissingError, match="stop here"):
        SequenceClassifierJudge(folder, harmful="b")
    assert (asked["attn_implementation"], asked["dtype"]) == ("eager", torch.float32)
    assert "someone/kernel" not in json.dumps(asked["config"].to_dict())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "the weights are quantized"),
        ({"model_type": "x", "auto_map": {}}, "needs code that comes with it"),
        ({"model_type": ["x"]}, "which transformers does not know"),
        ({"hidden_size": "wide"}, "not a valid config: .*hidden_size.* 'wide'"),
    ],
    ids=str,
)
def test_load_model_config_names_what_is_not_supported(
    folder: Path, fields: dict[str, Any], words: str
) -> None:
    edit_config(folder, **fields)
    with pytest.raises(MismatchError, match=words):
        load_model_config(folder)


def test_load_model_config_reads_special_floats(tmp_path: Path) -> None:
    """JSON has no infinity; transformers writes an object in its place."""
    Mamba2Config(num_heads=8, head_dim=16, hidden_size=64).save_pretrained(tmp_path)
    assert "__float__" in (tmp_path / "config.json").read_text()
    config: Any = load_model_config(tmp_path)
    assert tuple(config.time_step_limit) == (0.0, math.inf)


def test_load_base_refuses_adapter_beside_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/other"}')
    with pytest.raises(MismatchError, match=r"holds an adapter beside the model .*someone/other"):
        load_base(folder, device="cpu")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", r"leaves out 'Where is it\?'"),
        ("{{ messages[0].content }}", "leaves out 'Under the bell.'"),
        ("{{ raise_exception('system first') }}", r"plain conversation \(system first\)"),
        ("{% if", "does not render a plain conversation"),
        ("{% for m in messages %}<extra>{{ m.content }}{% endfor %}", "uses token 258, outside"),
    ],
)
def test_load_base_refuses_chat_template_that_gives_no_conversation(
    folder: Path, template: str, words: str
) -> None:
    fields = json.loads((folder / "tokenizer.json").read_text())
    extra = fields["added_tokens"][0] | {"id": 258, "content": "<extra>", "special": True}
    fields["added_tokens"].append(extra)
    (folder / "tokenizer.json").write_text(json.dumps(fields))
    # A tokenizer without a template is fine; one with an empty template is not asked for.
    (folder / "chat_template.jinja").write_text(template or "{# nothing #}")
    with pytest.raises(MismatchError, match=f"little: its chat template.*{words}"):
        load_base(folder, device="cpu")
