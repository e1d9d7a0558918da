from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch

from idiolect.adapters.arithmetic.concat import concat_lora, round_up_rank
from idiolect.adapters.formats.peft import save_peft
from idiolect.adapters.lora import LoraConfig
from idiolect.errors import MismatchError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.random_adapters import (
    compute_adapter_logits,
    compute_logits,
    make_token_ids,
    merge_into,
    random_adapter,
)

TASK = LoraConfig(rank=6, alpha=12.0, targets=("q_proj", "v_proj", "up_proj"))
PERSON = LoraConfig(rank=3, alpha=1.5, targets=("v_proj", "o_proj"))


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


def test_concat_lora_update_is_sum_of_both_updates(base: Base) -> None:
    task, person = random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2)
    both = concat_lora(task, person).check_matches_base(base)
    # 6 + 3 ranks, rounded up to a servable rank; scales are folded into A.
    assert (both.config.rank, both.config.scale) == (16, 1.0)
    for path, (a, b) in both.pairs.items():
        parts = [
            x.config.scale * x.pairs[path][1] @ x.pairs[path][0]
            for x in (task, person)
            if path in x.pairs
        ]
        assert torch.allclose(b @ a, torch.stack(parts).sum(0), rtol=0, atol=1e-14)


def test_concat_lora_equals_person_adapter_on_merged_base(base: Base) -> None:
    task, person = random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2)
    # The adapted base: the public base with the task adapter merged in.
    merged = make_tiny_base(dtype=torch.float64)
    merge_into(merged.model, task)
    ids = make_token_ids(base)
    ours = compute_adapter_logits(base, concat_lora(task, person), ids)
    assert (ours - compute_adapter_logits(merged, person, ids)).abs().max() <= 1e-12
    assert (ours - compute_adapter_logits(base, task, ids)).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_concat_lora_export_gives_same_logits_in_peft(tmp_path: Path) -> None:
    base = make_tiny_base()
    both = concat_lora(random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2))
    save_peft(tmp_path / "out", both, base_name=base.name)
    ids = make_token_ids(base)
    model = peft.PeftModel.from_pretrained(make_tiny_base().model, str(tmp_path / "out")).eval()
    assert (
        compute_logits(model, ids) - compute_adapter_logits(base, both, ids)
    ).abs().max() <= 1e-5


def test_concat_lora_rejects_different_widths(base: Base) -> None:
    task, person = random_adapter(base, TASK), random_adapter(base, PERSON)
    path = "model.layers.0.self_attn.v_proj"
    # One module of another width.
    person.pairs[path] = (person.pairs[path][0][:, :5], person.pairs[path][1])  # type: ignore[index]
    with pytest.raises(MismatchError, match=path):
        concat_lora(task, person)


def test_round_up_rank_returns_next_servable_rank() -> None:
    assert [round_up_rank(r) for r in (1, 8, 9, 16, 33, 100, 300)] == [8, 8, 16, 16, 64, 128, 512]
