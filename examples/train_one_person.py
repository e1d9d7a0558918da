"""Train one person's adapter in one flat loop: read this before the training engine.

    python examples/train_one_person.py

The person rated films (MovieLens). The base model is frozen; a LoRA pair (A, B) per target module
learns to predict the person's ratings. `idiolect.training.engine` does the same for many people at
once; a test checks that both give the same adapter.

Shapes: B rows of a batch, T tokens, D/O input and output width of a module, R rank.
"""

import random

import torch
import torch.nn.functional as F

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.config import derive_seed
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.tasks.registry import get_task
from idiolect.training.schedule import TrainConfig

LORA = LoraConfig(rank=8, alpha=8.0, targets=("q_proj", "v_proj"))
TRAIN = TrainConfig(rate=2e-3, epochs=2, batch=8, seed=0)


def load_examples(base: Base, items: int) -> tuple[str, list[Example]]:
    """One person's id and the last items of their history as tokenized examples, oldest first."""
    people = import_histories(format="movielens").histories
    history = min(people, key=lambda person: (len(person.items), person.person))
    person = PersonContext(
        history, get_task("rating"), PromptRenderer(base.tokenizer), ContextConfig()
    )
    found = [person.build_item_example(n) for n in range(len(history.items))]
    return history.person, [example for example in found if example is not None][-items:]


def train(base: Base, person: str, examples: list[Example]) -> tuple[LoraAdapter, list[float]]:
    """The person's adapter and the loss of each step (nats per target token)."""
    model, seed = base.model, TRAIN.seed
    start = init_lora(base, LORA, seed=seed, person=person)  # A random and small, B zero
    pairs = {
        path: (a.clone().requires_grad_(), b.clone().requires_grad_())
        for path, (a, b) in start.pairs.items()
    }
    weights = [tensor for a, b in pairs.values() for tensor in (b, a)]
    optimizer = torch.optim.AdamW(weights, lr=TRAIN.rate, weight_decay=TRAIN.weight_decay)

    # Each target module adds scale * B A x to its output. Nothing of the base model changes.
    for path, (a_RD, b_OR) in pairs.items():
        model.get_submodule(path).register_forward_hook(
            lambda _, inputs, out, a=a_RD, b=b_OR: out + LORA.scale * (inputs[0] @ a.T) @ b.T
        )

    # The batches of all epochs: a new seeded order of the examples in each epoch.
    batches: list[list[Example]] = []
    for epoch in range(TRAIN.epochs):
        order = list(range(len(examples)))
        random.Random(derive_seed(seed, person, "order", epoch)).shuffle(order)
        shuffled = [examples[n] for n in order]
        batches += [shuffled[n : n + TRAIN.batch] for n in range(0, len(order), TRAIN.batch)]

    losses: list[float] = []
    rise = int(TRAIN.warmup * len(batches))
    for step, batch in enumerate(batches):
        # Learning rate: linear warmup, then linear decay.
        left = len(batches) - step
        share = (step + 1) / (rise + 1) if step < rise else left / (len(batches) - rise)
        optimizer.param_groups[0]["lr"] = TRAIN.rate * share

        # Pad on the right; predict answer tokens only (-100 is ignored by the loss).
        longest = max(len(example.ids) for example in batch)
        ids_BT = torch.full((len(batch), longest), base.pad_token_id)
        labels_BT = torch.full((len(batch), longest), -100)
        for row, example in enumerate(batch):
            ids = torch.tensor(example.ids)
            ids_BT[row, : len(ids)] = ids
            labels_BT[row, example.answer_start : len(ids)] = ids[example.answer_start :]

        # Position t predicts token t + 1; the loss is the mean over all target tokens.
        logits_BTV = model(input_ids=ids_BT[:, :-1]).logits
        loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), labels_BT[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, TRAIN.clip)
        optimizer.step()
        losses.append(loss.item())

    trained = {path: (a.detach(), b.detach()) for path, (a, b) in pairs.items()}
    return LoraAdapter(config=LORA, base=base.identity, pairs=trained), losses


if __name__ == "__main__":
    base = load_base("default", dtype="float32")
    person, examples = load_examples(base, items=16)
    adapter, losses = train(base, person, examples)
    print(f"person {person}: {len(examples)} items, {adapter.num_bytes / 1e6:.1f} MB")
    print("loss of each step:", " ".join(f"{loss:.3f}" for loss in losses))
