"""Exported adapters give the same logits in PEFT on many families."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch

from idiolect.adapters.formats.peft import load_peft, save_peft
from idiolect.adapters.hooks import ActiveLora, activate_loras
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.models.base import Base
from support.random_adapters import compute_logits, random_adapter
from support.random_bases import make_random_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def make_ids(base: Base) -> torch.Tensor:
    return torch.randint(0, 250, (2, 9), generator=torch.Generator().manual_seed(1))


def compute_adapter_logits(base: Base, adapter: LoraAdapter, ids: torch.Tensor) -> torch.Tensor:
    """Return logits with one adapter, through the plain hooks: OPT flattens rows and tokens."""
    with activate_loras(base.model, [ActiveLora(adapter.pairs, adapter.config.scale, 1.0)]):
        return compute_logits(base.model, ids)


@pytest.mark.parametrize(
    ("family", "lora"),
    [
        ("gpt2", LoraConfig(rank=2)),
        ("gpt2", LoraConfig(rank=2, targets=("attn.c_proj",), top_layers=1)),
        ("gpt2", LoraConfig(rank=2, targets=("all-linear",))),
        ("opt", LoraConfig(rank=2, targets=("all-linear",))),
        ("falcon", LoraConfig(rank=2, targets=("all-linear",))),
        ("phi3", LoraConfig(rank=2, targets=(r".*\.1\..*_proj",))),
        ("gpt_neox", LoraConfig(rank=2)),
        ("deepseek_v3", LoraConfig(rank=2, targets=("all-linear",))),
        ("mamba", LoraConfig(rank=2)),
        ("gemma3", LoraConfig(rank=2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.targets),
)
def test_save_peft_gives_same_logits_in_peft_on_family(
    family: str, lora: LoraConfig, tmp_path: Path
) -> None:
    base = make_random_base(family)
    lora.check_model(base.model)
    adapter = random_adapter(base, lora)
    ids = make_ids(base)
    save_peft(tmp_path / "out", adapter, base_name=base.name)
    # The export comes back as it was.
    again = require_lora(load_peft(tmp_path / "out", base))
    assert again.config.is_same_kind(adapter.config)
    assert again.content_hash() == adapter.content_hash()
    ours, plain = compute_adapter_logits(base, again, ids), compute_logits(base.model, ids)
    theirs = compute_logits(
        peft.PeftModel.from_pretrained(base.model, str(tmp_path / "out")).eval(), ids
    )
    assert (ours - theirs).abs().max() <= 1e-5 < 0.01 < (ours - plain).abs().max()


def test_load_peft_reads_adapter_of_peft_on_transposed_layers(tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    theirs = peft.get_peft_model(make_random_base("gpt2").model, config)
    for name, weight in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    theirs.eval().save_pretrained(str(tmp_path / "out"))
    base = make_random_base("gpt2")
    adapter = require_lora(load_peft(tmp_path / "out", base))
    ids = make_ids(base)
    difference = compute_adapter_logits(base, adapter, ids) - compute_logits(theirs, ids)
    assert difference.abs().max() <= 1e-5
