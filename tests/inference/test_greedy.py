from __future__ import annotations

import pytest
import torch

from idiolect.adapters.lora import LoraConfig, init_lora
from idiolect.errors import UsageError
from idiolect.inference.greedy import answer_prompts
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import PromptConfig

PROMPTS = ("Where is the key?", "Who has it, then?", "And the bell, where is that?")


def test_answer_prompts_is_deterministic_for_any_batch_size() -> None:
    base = make_tiny_base()
    alone = answer_prompts(base, None, PROMPTS, tokens=12, batch=1)
    assert answer_prompts(base, None, PROMPTS, tokens=12) == alone
    assert answer_prompts(base, None, PROMPTS, tokens=12) == alone
    assert len(set(alone)) > 1
    assert answer_prompts(base, None, (), tokens=12) == ()


def test_answer_prompts_applies_adapter() -> None:
    base = make_tiny_base()
    adapter = init_lora(base, LoraConfig(rank=2, alpha=64.0), seed=0, person="p")
    assert answer_prompts(base, adapter, PROMPTS, tokens=8) == answer_prompts(
        base, None, PROMPTS, tokens=8
    )
    # With B = 0 the answers are the base's; now the adapter changes something.
    for _, b in adapter.pairs.values():
        torch.nn.init.normal_(b, generator=torch.Generator().manual_seed(0))
    assert answer_prompts(base, adapter, PROMPTS, tokens=8) != answer_prompts(
        base, None, PROMPTS, tokens=8
    )


def test_answer_prompts_rejects_too_few_tokens() -> None:
    with pytest.raises(UsageError, match="leaves no space"):
        answer_prompts(
            make_tiny_base(), None, PROMPTS, tokens=10, prompt=PromptConfig(max_tokens=12)
        )
