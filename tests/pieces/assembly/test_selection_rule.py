"""The rule of assembling by gates, reimplemented in numpy: scores, choice, and effect on later
modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_gates_reference import assemble_one
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from support.job_strategies import make_exact_base
from support.sharers import LORA, create_empty_pool, make_contribution

Array = NDArray[np.float64]
HEADS, GROUPS, WIDTH = 4, 2, 8


class ByHand:
    """The tiny Llama in numpy, one item at a time, with updates chosen on the way."""

    def __init__(self, base: Base, pool: Pool, config: AssembleConfig) -> None:
        model: Any = base.model
        self.weights = {name: p.double().numpy() for name, p in model.named_parameters()}
        self.layers = int(model.config.num_hidden_layers)
        self.eps = float(model.config.rms_norm_eps)
        self.pool, self.config = pool, config
        self.call = encode_invocation(base.tokenizer)
        self.picks: dict[str, list[tuple[int, float]]] = {}

    def run(self, examples: list[Example]) -> None:
        self.examples = examples
        table = self.weights["model.embed_tokens.weight"]
        texts = [table[list(e.ids[:-1])] for e in examples]  # per item [T, D]
        for layer in range(self.layers):
            at = f"model.layers.{layer}"
            normed = [self.norm(x, f"{at}.input_layernorm") for x in texts]
            q, k, v = (self.linear(f"{at}.self_attn.{n}_proj", normed) for n in "qkv")
            seen = [self.attend(*parts) for parts in zip(q, k, v, strict=True)]
            found = self.linear(f"{at}.self_attn.o_proj", seen)
            texts = [x + y for x, y in zip(texts, found, strict=True)]
            normed = [self.norm(x, f"{at}.post_attention_layernorm") for x in texts]
            gate, up = (self.linear(f"{at}.mlp.{n}_proj", normed) for n in ("gate", "up"))
            inner = [g / (1 + np.exp(-g)) * u for g, u in zip(gate, up, strict=True)]
            down = self.linear(f"{at}.mlp.down_proj", inner)
            texts = [x + y for x, y in zip(texts, down, strict=True)]

    def linear(self, path: str, inputs: list[Array]) -> list[Array]:
        outputs = [x @ self.weights[f"{path}.weight"].T for x in inputs]
        if path not in self.pool.sites:
            return outputs
        updates = self.choose_update(path, inputs)
        for e, x, out in zip(self.examples, inputs, outputs, strict=True):
            begin = 0
            if self.pool.lora.active == "answer":
                begin = find_invocation(e.ids[: e.answer_start], self.call)
            out[begin:] += x[begin:] @ updates.T
        return outputs

    def choose_update(self, path: str, inputs: list[Array]) -> Array:
        """The update [O, D] of one module, from its inputs [T, D] in each item."""
        items: list[Array] = []
        for e, x in zip(self.examples, inputs, strict=True):
            x = x[e.answer_start - 1 : len(e.ids) - 1]
            units = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
            items.append(units.mean(axis=0))
        mean = np.mean(items, axis=0)
        gates = self.pool.load_gates(path).double().numpy()
        scores = gates @ mean / np.sqrt(len(mean))
        best = np.argsort(-scores, kind="stable")[: self.config.top_k]
        weight = np.exp(scores[best] / self.config.temperature)
        weight = (weight / weight.sum()).astype(np.float16).astype(np.float64)
        self.picks[path] = list(zip(best.tolist(), weight.tolist(), strict=True))
        scale = self.pool.lora.alpha / self.pool.lora.rank
        pairs = [self.pool.load_pieces(self.pool.sharers[n])[path] for n in best.tolist()]
        a = [pair[0].double().numpy() for pair in pairs]
        b = [pair[1].double().numpy() for pair in pairs]
        if self.config.aggregate == "factors":
            sum_a = np.sum([w * m for w, m in zip(weight, a, strict=True)], axis=0)
            sum_b = np.sum([w * m for w, m in zip(weight, b, strict=True)], axis=0)
            return np.asarray(scale * (sum_b @ sum_a))
        return np.asarray(sum(w * scale * (y @ x) for w, x, y in zip(weight, a, b, strict=True)))

    def norm(self, x: Array, path: str) -> Array:
        spread = np.sqrt((x * x).mean(axis=1, keepdims=True) + self.eps)
        return np.asarray(x / spread * self.weights[f"{path}.weight"])

    def attend(self, q: Array, k: Array, v: Array) -> Array:
        length = len(q)
        out = np.empty((length, HEADS * WIDTH))
        for head in range(HEADS):
            own = slice(head * WIDTH, (head + 1) * WIDTH)
            group = head * GROUPS // HEADS
            theirs = slice(group * WIDTH, (group + 1) * WIDTH)
            scores = rotate(q[:, own]) @ rotate(k[:, theirs]).T / np.sqrt(WIDTH)
            scores[np.triu_indices(length, 1)] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, own] = weights / weights.sum(axis=1, keepdims=True) @ v[:, theirs]
        return out


def rotate(x: Array) -> Array:
    """Rotary embedding of positions 0, 1, ... [T, d]."""
    half = WIDTH // 2
    angle = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angle), np.sin(angle)
    left, right = x[:, :half], x[:, half:]
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=1)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


def make_items(base: Base) -> list[Example]:
    """Three items of different lengths, with answers of one to three tokens."""
    draw = torch.Generator().manual_seed(3)
    out: list[Example] = []
    for size, answer in ((7, 1), (12, 3), (4, 2)):
        ids = torch.randint(0, 200, (size + answer,), generator=draw).tolist()
        prompt = (*ids[:size], *encode_invocation(base.tokenizer))
        out.append(Example((*prompt, *ids[size:]), len(prompt)))
    return out


@pytest.mark.parametrize("aggregate", ["delta", "factors"])
@pytest.mark.parametrize(
    "lora",
    [LORA, replace(LORA, active="answer"), replace(LORA, targets=("v_proj", "down_proj"))],
    ids=lambda lora: lora.description,
)
def test_assemble_recipes_and_reference_equal_numpy(
    base: Base, tmp_path: Path, aggregate: Any, lora: Any
) -> None:
    pool = create_empty_pool(tmp_path / "pool", base, lora)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, n) for n in range(5)])
    config = AssembleConfig(by="gates", top_k=3, temperature=0.5, aggregate=aggregate)
    hand = ByHand(base, pool, config)
    hand.run(make_items(base))
    (batched,) = assemble_recipes(base, pool, {"new": make_items(base)}, config)
    for recipe in (batched, assemble_one(base, pool, "new", make_items(base), config)):
        for site, path in enumerate(pool.sites):
            theirs = [recipe.sharers[int(n)] for n in recipe.pick[site]]
            assert theirs == [pool.sharers[n] for n, _ in hand.picks[path]]
            expected = [weight for _, weight in hand.picks[path]]
            assert np.allclose(np.asarray(recipe.weight[site]), expected, rtol=0, atol=2e-6)
