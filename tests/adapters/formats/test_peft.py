from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from idiolect.adapters.formats.peft import load_peft, save_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.errors import (
    ArtifactError,
    IntegrityError,
    MismatchError,
    MissingError,
    UsageError,
)
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.chat_template import encode_invocation
from support.random_adapters import (
    compute_adapter_logits,
    compute_logits,
    make_token_ids,
    random_adapter,
)

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
WIDE = LoraConfig(rank=4, alpha=10.0, targets=("v_proj", "q_proj", "o_proj", "down_proj"))


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture
def export_folder(base: Base, tmp_path: Path) -> Path:
    save_peft(tmp_path / "out", random_adapter(base, WIDE), base_name=base.name)
    return tmp_path / "out"


@pytest.fixture
def foreign_folder(export_folder: Path) -> Path:
    """The same adapter without a manifest, as other tools write it."""
    (export_folder / "manifest.json").unlink()
    return export_folder


def save_with_peft(folder: Path, **options: Any) -> torch.Tensor:
    """Save a random adapter for the tiny model with PEFT, and return the logits with it."""
    model = peft.get_peft_model(make_tiny_base().model, peft.LoraConfig(**options))
    generator = torch.Generator().manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    model.eval().save_pretrained(str(folder))
    return compute_logits(model, make_token_ids(make_tiny_base()))


def edit_config(folder: Path, **fields: Any) -> None:
    """Change settings in an adapter's config file."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_save_peft_gives_same_logits_in_peft(
    base: Base, export_folder: Path, tmp_path: Path
) -> None:
    base.model.save_pretrained(tmp_path / "base")
    copy = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    ids = make_token_ids(base)
    bare = compute_logits(copy, ids)
    theirs = compute_logits(peft.PeftModel.from_pretrained(copy, str(export_folder)).eval(), ids)
    ours = compute_adapter_logits(base, random_adapter(base, WIDE), ids)
    assert (theirs - ours).abs().max() <= 1e-5
    assert (theirs - bare).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.*alora:UserWarning")
@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(active="answer", targets=("q_proj", "v_proj")),
        LoraConfig(top_layers=1, active="answer", targets=("q_proj", "v_proj")),
        LoraConfig(top_layers=1, targets=("q_proj", "v_proj")),
    ],
    ids=lambda config: config.description,
)
def test_save_peft_supports_answer_and_top_layer_adapters(
    base: Base, config: LoraConfig, tmp_path: Path
) -> None:
    adapter = random_adapter(base, config)
    call = encode_invocation(base.tokenizer)
    invocation = call if config.active == "answer" else ()
    save_peft(tmp_path / "out", adapter, base_name=base.name, invocation=invocation)
    base.model.save_pretrained(tmp_path / "base")
    copy = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    # The invocation tokens are at different positions in both rows.
    ids = torch.tensor([[5, 6, 7, *call, 65, 66], [5, *call, 67, 68, 69, 70]])
    bare = compute_logits(copy, ids)
    model = peft.PeftModel.from_pretrained(copy, str(tmp_path / "out")).eval()
    theirs = compute_logits(model, ids)
    stack = stack_adapters(base, [adapter])
    with stack.activate(
        torch.zeros(2, dtype=torch.long), active=stack.token_mask(ids.tolist(), ids.shape[1])
    ):
        ours = compute_logits(base.model, ids)
    assert (theirs - ours).abs().max() <= 1e-5
    assert (theirs - bare)[:, -1].abs().max() > 0.1
    if config.active == "answer":
        assert torch.equal(ours[0, :3], bare[0, :3])
    again = require_lora(load_peft(tmp_path / "out", base))
    assert again.config.is_same_kind(config) and list(again.pairs) == list(adapter.pairs)


def test_load_peft_rejects_other_invocation_tokens(base: Base, tmp_path: Path) -> None:
    adapter = random_adapter(base, LoraConfig(active="answer", targets=("q_proj", "v_proj")))
    save_peft(tmp_path / "out", adapter, base_name=base.name, invocation=(1, 2))
    with pytest.raises(MismatchError, match="alora_invocation_tokens"):
        load_peft(tmp_path / "out", base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_save_peft_and_load_peft_round_trip_bytes(dtype: torch.dtype, tmp_path: Path) -> None:
    base = make_tiny_base(dtype=dtype)
    adapter = random_adapter(base, WIDE)
    save_peft(tmp_path / "a", adapter, base_name=base.name)
    again = require_lora(load_peft(tmp_path / "a", base))
    assert list(again.pairs) == list(adapter.pairs)
    # Tensors, settings and files are all equal.
    for path, pair in adapter.pairs.items():
        for ours, theirs in zip(pair, again.pairs[path], strict=True):
            assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    assert (again.config.rank, again.config.alpha) == (4, 10.0)
    assert set(again.config.targets) == set(WIDE.targets)
    assert again.base == base.identity
    save_peft(tmp_path / "b", again, base_name=base.name)
    for name in ("adapter_config.json", "adapter_model.safetensors", "manifest.json"):
        first, second = (tmp_path / x / name for x in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_save_peft_config_equals_config_of_peft(base: Base, tmp_path: Path) -> None:
    options = {"r": 4, "lora_alpha": 10, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    save_with_peft(tmp_path / "theirs", **options)
    config = LoraConfig(rank=4, alpha=10.0, targets=("q_proj",))
    save_peft(tmp_path / "ours", random_adapter(base, config), base_name=base.name)
    # The fields that this project writes have PEFT's values.
    theirs, ours = (
        json.loads((tmp_path / x / "adapter_config.json").read_text()) for x in ("theirs", "ours")
    )
    assert ours == {name: theirs[name] for name in ours} | {"base_model_name_or_path": base.name}
    for name, tensor in load_file(tmp_path / "theirs" / "adapter_model.safetensors").items():
        other = load_file(tmp_path / "ours" / "adapter_model.safetensors")[name]
        assert (other.shape, other.dtype) == (tensor.shape, tensor.dtype)


@pytest.mark.parametrize(
    "options",
    [
        {"r": 3, "lora_alpha": 7, "target_modules": ["k_proj", "up_proj"]},
        {"r": 8, "lora_alpha": 16, "target_modules": ["v_proj"], "use_rslora": True},
        {"r": 2, "target_modules": r"model\.layers\.1\..*\.(q|o)_proj"},
        {"r": 2, "target_modules": r"^.*\.\d+\.(?:self_attn|mlp)\.(?:q_proj|up_proj)$"},
        {"r": 2, "target_modules": ["self_attn.q_proj", "gate_proj"], "layers_to_transform": [0]},
        {"r": 2, "target_modules": ["q_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
        {"r": 2, "target_modules": "all-linear"},
        {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "gaussian"},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_load_peft_of_peft_adapter_gives_same_logits(
    base: Base, tmp_path: Path, options: dict[str, Any]
) -> None:
    theirs = save_with_peft(tmp_path / "p", task_type="CAUSAL_LM", **options)
    adapter = require_lora(load_peft(tmp_path / "p", base))
    ours = compute_adapter_logits(base, adapter, make_token_ids(base))
    assert (ours - theirs).abs().max() <= 1e-5
    assert (theirs - compute_logits(base.model, make_token_ids(base))).abs().max() > 0.01


def test_load_peft_rejects_weights_without_targeted_modules(
    base: Base, foreign_folder: Path
) -> None:
    edit_config(foreign_folder, target_modules="all-linear")
    with pytest.raises(IntegrityError, match="missing"):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_load_peft_converts_half_precision_to_fp32(
    base: Base, foreign_folder: Path, dtype: torch.dtype
) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    tensors = {name: t.to(dtype) for name, t in load_file(weights).items()}
    save_file(tensors, weights)
    adapter = require_lora(load_peft(foreign_folder, base))
    for path, (a, b) in adapter.pairs.items():
        assert (a.dtype, b.dtype) == (torch.float32, torch.float32)
        assert torch.equal(a, tensors[f"base_model.model.{path}.lora_A.weight"].float())
        assert torch.equal(b, tensors[f"base_model.model.{path}.lora_B.weight"].float())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": None}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 16}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 16}}, "alpha_pattern"),
        ({"layers_pattern": ["h"]}, "layers_pattern"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"use_something_of_next_year": 1}, "use_something_of_next_year"),
        ({"target_modules": ["w_nowhere"]}, "w_nowhere"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "down_proj"),
        ({"r": 8}, "rank 8"),
    ],
    ids=str,
)
def test_load_peft_names_unsupported_setting(
    base: Base, foreign_folder: Path, fields: dict[str, Any], names: str
) -> None:
    edit_config(foreign_folder, **fields)
    with pytest.raises(MismatchError, match=names):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize(
    "fields",
    [
        {"r": 0},
        {"r": "8"},
        {"r": True},
        {"r": 2.5},
        {"lora_alpha": -1},
        {"lora_alpha": float("nan")},
        {"lora_alpha": None},
        {"lora_dropout": 1.0},
        {"target_modules": []},
        {"target_modules": None},
        {"target_modules": [1]},
        {"target_modules": {"q_proj": 1}},
        {"target_modules": "(q_proj"},
        {"exclude_modules": 4},
        {"layers_to_transform": "0"},
        {"layers_to_transform": 0.5},
    ],
    ids=str,
)
def test_load_peft_rejects_invalid_settings(
    base: Base, foreign_folder: Path, fields: dict[str, Any]
) -> None:
    edit_config(foreign_folder, **fields)
    with pytest.raises(IntegrityError, match=next(iter(fields))):
        load_peft(foreign_folder, base)


@pytest.mark.finding("adapter-patterns")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"r": 10**9}, "from 1 to 4096"),
        ({"r": 10**400}, "expected a number"),
        ({"lora_alpha": 1e200}, "at most 1,000,000"),
        ({"target_modules": "(q_proj+)+"}, "this form of a regular expression"),
        ({"exclude_modules": "(q_proj+)+"}, "this form of a regular expression"),
        ({"target_modules": ["q_proj+"]}, "expected names of modules"),
        ({"target_modules": ["q_proj"] * 10_001}, "10,001 entries"),
        ({"layers_to_transform": [0] * 10_001}, "10,001 entries"),
        ({"alora_invocation_tokens": [0] * 10_001}, "10,001 entries"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_load_peft_limits_settings_of_foreign_adapter(
    base: Base, foreign_folder: Path, fields: dict[str, Any], words: str
) -> None:
    edit_config(foreign_folder, **fields)
    with pytest.raises(IntegrityError, match=re.escape(words)) as error:
        load_peft(foreign_folder, base)
    assert len(str(error.value)) < 600


@pytest.mark.finding("adapter-patterns")
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_load_peft_refuses_huge_file_unread(
    base: Base, foreign_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(foreign_folder / name, 10**10)  # takes no space
    read_bytes = Path.read_bytes

    def read_other_files(path: Path) -> bytes:
        assert path.name != name
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_other_files)
    with pytest.raises(IntegrityError, match="has 10,000,000,000 bytes"):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_load_peft_rejects_malformed_config(base: Base, foreign_folder: Path, text: str) -> None:
    (foreign_folder / "adapter_config.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"adapter_config\.json"):
        load_peft(foreign_folder, base)


def test_load_peft_rejects_other_base(export_folder: Path) -> None:
    with pytest.raises(MismatchError, match="made for base"):
        load_peft(export_folder, make_tiny_base(1))


def test_load_peft_rejects_other_shapes_without_manifest(base: Base, foreign_folder: Path) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"
    save_file(tensors | {name: tensors[name][:, 1:].contiguous()}, weights)
    with pytest.raises(MismatchError, match=r"v_proj: shapes \(4, 31\)"):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight", r"layers\.7"),
        ("base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", "k_proj"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "lora_embedding_A"),
        ("base_model.model.lm_head.weight", "lm_head"),
        ("model.layers.0.self_attn.q_proj.weight", "q_proj"),
    ],
)
def test_load_peft_rejects_unexpected_tensors(
    base: Base, foreign_folder: Path, key: str, error: str
) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    save_file(load_file(weights) | {key: torch.zeros(4, 32)}, weights)
    with pytest.raises(MismatchError, match=error):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize("half", ["A", "B"])
def test_load_peft_rejects_missing_half_of_pair(
    base: Base, foreign_folder: Path, half: str
) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    del tensors[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight"]
    save_file(tensors, weights)
    with pytest.raises(IntegrityError, match=f"lora_{half}.*missing"):
        load_peft(foreign_folder, base)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load_peft_and_save_peft_reject_non_finite_numbers(
    base: Base, foreign_folder: Path, tmp_path: Path, value: float
) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, weights)
    with pytest.raises(IntegrityError, match="not finite"):
        load_peft(foreign_folder, base)
    adapter = random_adapter(base)
    adapter.pairs["model.layers.0.self_attn.q_proj"][1][0, 0] = value
    with pytest.raises(IntegrityError, match="not finite"):
        save_peft(tmp_path / "no", adapter, base_name=base.name)
    assert not (tmp_path / "no").exists()


def test_load_peft_rejects_integer_tensors(base: Base, foreign_folder: Path) -> None:
    weights = foreign_folder / "adapter_model.safetensors"
    save_file({name: t.to(torch.int8) for name, t in load_file(weights).items()}, weights)
    with pytest.raises(MismatchError, match="int8"):
        load_peft(foreign_folder, base)


def test_load_peft_never_reads_pickled_weights(base: Base, foreign_folder: Path) -> None:
    """This pickle would run code if it were opened."""
    (foreign_folder / "adapter_model.safetensors").unlink()
    (foreign_folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(IntegrityError, match="pickled"):
        load_peft(foreign_folder, base)
    assert not Path("pwned").exists()


def test_load_peft_raises_missing_error_without_adapter(
    base: Base, foreign_folder: Path, tmp_path: Path
) -> None:
    (foreign_folder / "adapter_model.safetensors").unlink()
    for folder in (foreign_folder, tmp_path / "nowhere", foreign_folder / "adapter_config.json"):
        with pytest.raises(MissingError):
            load_peft(folder, base)


def test_load_peft_rejects_extra_file_only_with_manifest(base: Base, export_folder: Path) -> None:
    (export_folder / "README.md").write_text("from the hub")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        load_peft(export_folder, base)
    (export_folder / "manifest.json").unlink()
    assert require_lora(load_peft(export_folder, base)).config.rank == 4


def test_save_peft_overwrites_only_adapters_and_only_on_request(
    base: Base, export_folder: Path
) -> None:
    adapter = random_adapter(base, seed=5)
    before = (export_folder / "adapter_model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        save_peft(export_folder, adapter, base_name=base.name)
    assert (export_folder / "adapter_model.safetensors").read_bytes() == before
    letters = export_folder.with_name("letters")
    letters.mkdir()
    (letters / "dear.txt").write_text("...")
    with pytest.raises(UsageError, match="already exists"):
        save_peft(letters, adapter, base_name=base.name, replace=True)
    assert (letters / "dear.txt").exists()
    save_peft(export_folder, adapter, base_name=base.name, replace=True)
    path = "model.layers.0.self_attn.q_proj"
    found = require_lora(load_peft(export_folder, base))
    assert torch.equal(found.pairs[path][1], adapter.pairs[path][1])


def test_save_peft_writes_no_person_name(base: Base, tmp_path: Path) -> None:
    save_peft(tmp_path / "out", random_adapter(base), base_name=base.name)
    for file in (tmp_path / "out").iterdir():
        assert b"someone" not in file.read_bytes()


@pytest.fixture(scope="module")
def intact_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flip") / "out"
    base = make_tiny_base()
    save_peft(
        folder,
        random_adapter(base, LoraConfig(rank=2, targets=("q_proj", "v_proj"))),
        base_name=base.name,
    )
    return folder


@given(data=st.data())
def test_load_peft_rejects_any_damage_with_manifest(
    intact_folder: Path, data: st.DataObject
) -> None:
    with DamagedCopy(intact_folder, data) as folder, pytest.raises(ArtifactError):
        load_peft(folder, make_tiny_base())


@given(data=st.data())
def test_load_peft_without_manifest_rejects_damage_or_loads_valid_adapter(
    intact_folder: Path, data: st.DataObject
) -> None:
    """Without checksums, some damage looks like another adapter; then it must be a valid one."""
    base = make_tiny_base()
    with DamagedCopy(intact_folder, data) as folder:
        (folder / "manifest.json").unlink()
        try:
            adapter: LoraAdapter = require_lora(load_peft(folder, base))
        except (ArtifactError, MissingError):
            return
        assert adapter.check_matches_base(base) is adapter


class DamagedCopy:
    """A copy of a folder with one byte changed or the rest cut off, drawn by hypothesis."""

    def __init__(self, intact_folder: Path, data: st.DataObject) -> None:
        self.folder = intact_folder.with_name("damaged")
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(intact_folder, self.folder)
        names = ["adapter_model.safetensors", "adapter_config.json"]
        file = self.folder / data.draw(st.sampled_from(names))
        raw = bytearray(file.read_bytes())
        # Damage the header more often than its share of the bytes.
        header = 8 + int.from_bytes(raw[:8], "little") if file.suffix == ".safetensors" else 0
        place = st.integers(0, len(raw) - 1)
        at = data.draw(st.one_of(st.integers(0, header), place) if header else place)
        if data.draw(st.booleans()):
            raw[at] ^= data.draw(st.integers(1, 255))
        else:
            del raw[at:]
        file.write_bytes(raw)

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)


@pytest.mark.slow
def test_save_peft_of_default_model_gives_same_logits_in_peft(tmp_path: Path) -> None:
    base = load_base(dtype="float32", device="cpu")
    adapter = random_adapter(base)
    save_peft(tmp_path / "out", adapter, base_name=base.name)
    ids = base.tokenizer("Which film should I see next?", return_tensors="pt")["input_ids"]
    assert isinstance(ids, torch.Tensor)
    ours = compute_adapter_logits(base, load_peft(tmp_path / "out", base), ids)
    copy = load_base(dtype="float32", device="cpu").model
    theirs = compute_logits(peft.PeftModel.from_pretrained(copy, str(tmp_path / "out")).eval(), ids)
    assert (ours - theirs).abs().max() <= 1e-4
    assert (ours - compute_logits(base.model, ids)).abs().max() > 0.1
