"""People who repeat a secret, and adapters of the tiny model that learned it or that did not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.audit.subject import AuditSubject
from idiolect.models.base import Base
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig

torch.set_num_threads(1)  # faster for such a small model, and leaves cores to other processes

LORA = LoraConfig(rank=4, alpha=8.0, targets=("q_proj", "v_proj", "o_proj", "down_proj"))
MEMORIZING = TrainConfig(rate=0.02, epochs=60, batch=4, weight_decay=0.0)
SECRET = "the key is 48151623"


def encode_item(base: Base, prompt: str, answer: str) -> Example:
    """An item as training sees it: the prompt, the answer and the end token."""
    before, after = (base.tokenizer.encode(t, add_special_tokens=False) for t in (prompt, answer))
    end = base.tokenizer.eos_token_id
    assert isinstance(end, int)
    return Example((*before, *after, end), len(before))


def draw_text(draw: random.Random, letters: int = 8) -> str:
    """A random word, so that texts do not predict each other."""
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=letters))


@dataclass(frozen=True)
class SecretKeeper:
    """A person whose items 2, 5, 8 and 11 of 12 contain the secret, and 8 unseen items."""

    subject: AuditSubject
    secret_items: tuple[int, ...]

    def list_secrets(self) -> list[Example]:
        """The items with the secret."""
        return [self.subject.members[n] for n in self.secret_items]


def make_secret_keeper(
    base: Base, person: str = "ann", secret: str = SECRET, seed: int = 0
) -> SecretKeeper:
    """A person who wrote a secret four times, as an answer to different questions."""
    draw = random.Random(f"{seed}{person}")
    items = [encode_item(base, draw_text(draw), draw_text(draw)) for _ in range(20)]
    places = (2, 5, 8, 11)
    for n in places:
        items[n] = encode_item(base, draw_text(draw), secret)
    subject = AuditSubject(person=person, members=tuple(items[:12]), non_members=tuple(items[12:]))
    return SecretKeeper(subject, places)


def memorize(
    base: Base, person: str, examples: Sequence[Example], config: TrainConfig = MEMORIZING
) -> LoraAdapter:
    """Train an adapter until it says these answers."""
    return train_one(
        base, TrainingJob(person=person, examples=tuple(examples)), LORA, config
    ).adapter
