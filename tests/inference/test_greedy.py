from __future__ import annotations

import pytest
import torch

from idiolect.adapters.lora import LoraConfig, fresh
from idiolect.errors import UsageError
from idiolect.inference.greedy import answers_of
from idiolect.models.tiny import tiny_base
from idiolect.prompts.render import PromptConfig

PROMPTS = ("Where is the key?", "Who has it, then?", "And the bell, where is that?")


def test_answers_are_the_same_every_time_and_in_any_batch() -> None:
    base = tiny_base()
    alone = answers_of(base, None, PROMPTS, tokens=12, batch=1)
    assert answers_of(base, None, PROMPTS, tokens=12) == alone
    assert answers_of(base, None, PROMPTS, tokens=12) == alone
    assert len(set(alone)) > 1
    assert answers_of(base, None, (), tokens=12) == ()


def test_an_adapter_speaks_where_there_is_one() -> None:
    base = tiny_base()
    adapter = fresh(base, LoraConfig(rank=2, alpha=64.0), seed=0, person="p")
    assert answers_of(base, adapter, PROMPTS, tokens=8) == answers_of(base, None, PROMPTS, tokens=8)
    for _, b in adapter.pairs.values():
        torch.nn.init.normal_(b, generator=torch.Generator().manual_seed(0))
    assert answers_of(base, adapter, PROMPTS, tokens=8) != answers_of(base, None, PROMPTS, tokens=8)


def test_a_frame_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves no room"):
        answers_of(tiny_base(), None, PROMPTS, tokens=10, prompt=PromptConfig(max_tokens=12))
