"""A quantized base computes with the weights that its numbers stand for."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from idiolect.adapters.update_norm import require_bounded_update
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.models.folder.weights import hash_weights, silence_transformers
from idiolect.models.load import load_base
from idiolect.models.quantization.modules import (
    count_weight_bytes,
    is_quantized,
    require_plain_base,
    restore_weight,
)
from support.model_families import SIZES, save_random_model

pytest.importorskip("bitsandbytes")
pytest.importorskip("torchao")

KINDS = ["nf4", "int8", "torchao-int8"]
WIDE: dict[str, Any] = {
    **SIZES,
    "hidden_size": 64,
    "intermediate_size": 128,
    "initializer_range": 0.1,
}
PATH = "model.layers.1.self_attn.q_proj"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "wide"
    save_random_model(LlamaConfig(**WIDE), folder)
    return folder


@pytest.fixture(scope="module")
def bases(folder: Path) -> dict[str, Base]:
    return {kind: load_on_cpu(folder, kind) for kind in KINDS}


def load_on_cpu(folder: Path, quantize: Any = "none", dtype: Any = "float32") -> Base:
    return load_base(folder, dtype=dtype, device="cpu", quantize=quantize)


def compute_logits_and_gradient(base: Base) -> tuple[Tensor, Tensor]:
    """Return the logits of fixed inputs, and the gradient of the inputs."""
    draw = torch.Generator().manual_seed(0)
    width = base.model.config.hidden_size
    inputs = torch.randn(2, 7, width, generator=draw, dtype=base.dtype, requires_grad=True)
    logits = base.model(inputs_embeds=inputs).logits
    logits.float().logsumexp(-1).sum().backward()
    assert inputs.grad is not None
    return logits.detach(), inputs.grad


def find_relative_difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize("kind", KINDS)
def test_load_base_quantizes_the_decoders_linear_layers(
    bases: dict[str, Base], folder: Path, kind: str
) -> None:
    base = bases[kind]
    assert (base.quantization, base.identity) == (kind, hash_weights(folder))
    assert (base.dtype, base.device.type, base.model.training) == (torch.float32, "cpu", False)
    assert not any(weight.requires_grad for weight in base.model.parameters())
    linear = {n: m for n, m in base.model.named_modules() if isinstance(m, nn.Linear)}
    plain = {name for name, module in linear.items() if not is_quantized(module.weight)}
    assert plain == {"lm_head"} and (linear[PATH].in_features, linear[PATH].out_features)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_quantized_base_equals_plain_base_with_restored_weights(
    folder: Path, kind: str, dtype: str
) -> None:
    base, plain = load_on_cpu(folder, kind, dtype), load_on_cpu(folder, dtype=dtype)
    for name, module in base.model.named_modules():
        if isinstance(module, nn.Linear):
            original = plain.model.get_submodule(name).weight
            restored = restore_weight(module)
            # Rounded to 4 or 8 bits, and nothing more.
            difference = find_relative_difference(restored, original)
            assert difference < (0.15 if kind == "nf4" else 0.01)
            assert (difference > 0) == is_quantized(module.weight)
            original.data = restored.to(original.dtype)
    # An inference first: bitsandbytes must not leave layers without a backward.
    with torch.no_grad():
        base.model(input_ids=torch.tensor([[5, 6, 7]]))
    logits, gradient = compute_logits_and_gradient(base)
    expected_logits, expected_gradient = compute_logits_and_gradient(plain)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    assert find_relative_difference(logits, expected_logits) < tolerance
    assert find_relative_difference(gradient, expected_gradient) < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_layer_computes_each_token_for_itself(bases: dict[str, Base], kind: str) -> None:
    layer = bases[kind].model.get_submodule(PATH)
    rows = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1))
    hostile = rows.clone()
    hostile[1] *= 1000  # LLM.int8 would take its columns for outliers, in the first row, too
    with torch.no_grad():
        assert torch.equal(layer(rows)[0], layer(hostile)[0])


def test_prepack_linear_leaves_quantized_weights_alone(folder: Path) -> None:
    base = load_on_cpu(folder, "torchao-int8", "bfloat16")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = base.model(input_ids=ids).logits
        with prepack_linear(base.model):
            assert torch.equal(base.model(input_ids=ids).logits, before)
            assert "forward" not in vars(base.model.get_submodule(PATH))


@pytest.mark.parametrize("kind", KINDS)
def test_update_norm_compares_with_the_restored_weight(
    bases: dict[str, Base], folder: Path, kind: str
) -> None:
    weight = load_on_cpu(folder).model.get_submodule(PATH).weight
    a, b = torch.zeros(1, 64), torch.zeros(weight.shape[0], 1)
    a[0, 0] = 1
    for ratio, is_refused in ((990, False), (1010, True)):
        b[0, 0] = ratio * max(float(weight.norm()), 1.0)
        try:
            require_bounded_update(bases[kind].model, PATH, (a, b), 1.0, what="adapter")
        except IntegrityError:
            assert is_refused
        else:
            assert not is_refused


def save_quantized(base: Base, folder: Path) -> None:
    with silence_transformers():
        base.model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_load_base_takes_folders_quantized_by_bitsandbytes(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    base = load_on_cpu(folder, kind)
    save_quantized(base, tmp_path / "small")
    loaded = load_on_cpu(tmp_path / "small")
    assert loaded.quantization == kind
    assert loaded.identity == hash_weights(tmp_path / "small") != base.identity
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, base.model(ids).logits)
    assert load_on_cpu(tmp_path / "small", kind).quantization == kind
    with pytest.raises(UsageError, match=rf"quantized already \({kind}\)"):
        load_on_cpu(tmp_path / "small", "torchao-int8")


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ"),
        ({"quant_method": "awq", "bits": 4}, "AWQ"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "hqq"}, "HQQ"),
        ({"quant_method": "torchao"}, "torchao"),
        ({"quant_method": "later"}, "later"),
        ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({"bits": 4}, "an unknown method"),
    ],
)
def test_load_base_refuses_other_quantizations_by_name(
    folder: Path, tmp_path: Path, stored: dict[str, Any], name: str
) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"quantization_config": stored}))
    with pytest.raises(MismatchError, match=rf"config\.json: .* by {name}, .*--quantize nf4"):
        load_on_cpu(copied)


def test_load_base_refuses_what_cannot_be_quantized(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'nf5' is not one of none, nf4, int8, torchao-int8"):
        load_on_cpu(folder, "nf5")
    # bitsandbytes would return memory that it never wrote.
    with pytest.raises(UsageError, match=r"runs in bfloat16 or float32, not in torch\.float64"):
        load_on_cpu(folder, "nf4", "float64")
    # 64 does not divide the inputs of the down projections.
    odd = tmp_path / "odd"
    sizes: dict[str, Any] = {**WIDE, "intermediate_size": 96}
    save_random_model(LlamaConfig(**sizes), odd)
    with pytest.raises(UsageError, match=r"layers\.0\.mlp\.down_proj has 96 inputs"):
        load_on_cpu(odd, "nf4")
    assert load_on_cpu(odd, "int8").quantization == "int8"
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(UsageError, match=r"package torchao: pip install 'idiolect\[quantize\]'"):
        load_on_cpu(folder, "torchao-int8")


def test_require_plain_base_refuses_quantized_bases(bases: dict[str, Base], folder: Path) -> None:
    require_plain_base(load_on_cpu(folder), "unlearning")
    with pytest.raises(UsageError, match=r"unlearning changes .* quantized \(nf4\)"):
        require_plain_base(bases["nf4"], "unlearning")


def test_count_weight_bytes_counts_packed_weights_once(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {**SIZES, "hidden_size": 256, "intermediate_size": 512}
    save_random_model(LlamaConfig(**sizes, tie_word_embeddings=True), tmp_path)
    plain = count_weight_bytes(load_on_cpu(tmp_path, dtype="bfloat16").model)
    decoder = 2 * sum(
        module.weight.numel()
        for name, module in load_on_cpu(tmp_path).model.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    )
    assert plain.linear == decoder
    # Tied embeddings count once; norms and tables of positions are small.
    embeddings = 2 * 256 * SIZES["vocab_size"]
    assert decoder + embeddings < plain.whole < decoder + embeddings + 20_000
    for kind, share in (("nf4", 0.27), ("int8", 0.51), ("torchao-int8", 0.51)):
        base = load_on_cpu(tmp_path, kind, "bfloat16")
        for _ in range(2):  # the sizes of int8's rows move at the first forward
            found = count_weight_bytes(base.model)
            assert share - 0.02 < found.linear / plain.linear < share + 0.02
            assert found.whole - found.linear == plain.whole - plain.linear
            base.model(input_ids=torch.tensor([[5]]))
