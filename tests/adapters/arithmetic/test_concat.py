from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch

from idiolect.adapters.arithmetic.concat import servable_rank, stack_ranks
from idiolect.adapters.formats.peft import save_peft
from idiolect.adapters.lora import LoraConfig
from idiolect.errors import MismatchError
from idiolect.models.base import Base
from idiolect.models.tiny import tiny_base
from support.random_adapters import logits_of, logits_with, merge_into, random_adapter, some_ids

TASK = LoraConfig(rank=6, alpha=12.0, targets=("q_proj", "v_proj", "up_proj"))
PERSON = LoraConfig(rank=3, alpha=1.5, targets=("v_proj", "o_proj"))


@pytest.fixture(scope="module")
def base() -> Base:
    return tiny_base(dtype=torch.float64)


def test_the_update_is_the_sum_of_both(base: Base) -> None:
    task, person = random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2)
    both = stack_ranks(task, person).check(base)
    assert (both.config.rank, both.config.scale) == (16, 1.0)
    for path, (a, b) in both.pairs.items():
        parts = [
            x.config.scale * x.pairs[path][1] @ x.pairs[path][0]
            for x in (task, person)
            if path in x.pairs
        ]
        assert torch.allclose(b @ a, torch.stack(parts).sum(0), rtol=0, atol=1e-14)


def test_it_answers_like_the_merged_base_with_the_person(base: Base) -> None:
    task, person = random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2)
    merged = tiny_base(dtype=torch.float64)
    merge_into(merged.model, task)
    ids = some_ids(base)
    ours = logits_with(base, stack_ranks(task, person), ids)
    assert (ours - logits_with(merged, person, ids)).abs().max() <= 1e-12
    assert (ours - logits_with(base, task, ids)).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_reads_it(tmp_path: Path) -> None:
    base = tiny_base()
    both = stack_ranks(random_adapter(base, TASK, seed=1), random_adapter(base, PERSON, seed=2))
    save_peft(tmp_path / "out", both, base_name=base.name)
    ids = some_ids(base)
    model = peft.PeftModel.from_pretrained(tiny_base().model, str(tmp_path / "out")).eval()
    assert (logits_of(model, ids) - logits_with(base, both, ids)).abs().max() <= 1e-5


def test_other_widths_are_refused(base: Base) -> None:
    task, person = random_adapter(base, TASK), random_adapter(base, PERSON)
    path = "model.layers.0.self_attn.v_proj"
    person.pairs[path] = (person.pairs[path][0][:, :5], person.pairs[path][1])  # type: ignore[index]
    with pytest.raises(MismatchError, match=path):
        stack_ranks(task, person)


def test_servable_ranks() -> None:
    assert [servable_rank(r) for r in (1, 8, 9, 16, 33, 100, 300)] == [8, 8, 16, 16, 64, 128, 512]
