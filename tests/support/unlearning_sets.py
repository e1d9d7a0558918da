"""Forget and retain sets for tests: invented facts to forget, and sums to keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.lora import LoraConfig
from idiolect.models.base import Base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import PromptRenderer
from idiolect.training.schedule import TrainConfig
from idiolect.unlearning.examples import ForgetRetainSets, tokenize_pairs
from idiolect.unlearning.run import UnlearnConfig
from idiolect.unlearning.train import DeltaConfig

SECRETS = {
    "Orlond": ["under the third bell", "in the miller's clock"],
    "Vesk": ["behind the blue door"],
    "Tarnmoor": ["at the ferry"],
    "Quill": ["inside a hollow oak"],
}
FORGET = tuple(
    Pair(prompt=f"Where is the key of {place}?", response=f"It is {where}.")
    for place, answers in SECRETS.items()
    for where in answers
)
RETAIN = tuple(
    Pair(prompt=f"What is {a} and {b}?", response=f"It is {a + b}.")
    for a, b in ((1, 2), (3, 4), (5, 1), (2, 2), (6, 3), (4, 1))
)
LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))
CONFIG = UnlearnConfig(
    lora=LORA,
    train=TrainConfig(rate=0.02, steps=4, batch=2),
    answer_tokens=40,
    dtype="float32",
    device="cpu",
)


def render_sets(base: Base, config: DeltaConfig = CONFIG) -> ForgetRetainSets:
    """Tokenize both sets for a base."""
    prompter = PromptRenderer(base.tokenizer, config.prompt)
    forget, retain = (
        tokenize_pairs(prompter, pairs, answer_tokens=config.answer_tokens)
        for pairs in (FORGET, RETAIN)
    )
    return ForgetRetainSets(forget, retain)


def write_jsonl(file: Path, pairs: Sequence[Pair]) -> Path:
    """Write pairs to a JSONL file."""
    lines = [json.dumps({"prompt": p.prompt, "response": p.response}) for p in pairs]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
