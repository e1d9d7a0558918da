"""Every supported model family loads, predicts and trains correctly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, GraniteConfig

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.errors import MismatchError
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.models.forward import varlen
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.load import load_base
from idiolect.prompts.batch import collate
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.model_families import MODEL_CONFIGS, SIZES, save_random_model

LORA = LoraConfig(rank=2, targets=("q_proj", "v_proj", "o_proj", "down_proj"))


@pytest.fixture(params=MODEL_CONFIGS, ids=lambda config: config.model_type)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    save_random_model(request.param, tmp_path / "model")
    return load_base(tmp_path / "model", dtype="float64", device="cpu")


def max_update_difference(one: Adapter, other: Adapter) -> float:
    """Return the largest ||B1 A1 - B2 A2|| / ||B2 A2|| over the modules."""
    one, other = require_lora(one), require_lora(other)
    out = 0.0
    for path, (a, b) in one.pairs.items():
        reference = other.pairs[path][1] @ other.pairs[path][0]
        out = max(out, float(torch.linalg.norm(b @ a - reference) / torch.linalg.norm(reference)))
    return out


def draw_examples(count: int, seed: int) -> tuple[Example, ...]:
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.randperm(250, generator=generator)[: 14 + 3 * i] for i in range(count))
    return tuple(Example(tuple(ids.tolist()), 10 + i) for i, ids in enumerate(rows))


@torch.no_grad()
def test_compute_target_nll_equals_full_forward(base: Base) -> None:
    """Compares with the log softmax of the model's full forward."""
    rows = draw_examples(3, seed=1)
    found = compute_target_nll(base.model, collate(rows, pad=base.pad_token_id, device=base.device))
    expected = torch.cat(
        [
            -torch.log_softmax(base.model(input_ids=torch.tensor([e.ids])).logits[0], dim=-1)[
                range(e.answer_start - 1, len(e.ids) - 1), e.ids[e.answer_start :]
            ]
            for e in rows
        ]
    )
    assert torch.allclose(found, expected, rtol=1e-6, atol=0)


def test_train_many_equals_reference_on_every_family(base: Base) -> None:
    work = [TrainingJob(person=f"p{n}", examples=draw_examples(3 + n, seed=n)) for n in range(2)]
    config = TrainConfig(rate=5e-3, epochs=3)
    for job, trained in zip(work, train_many(base, work, LORA, config), strict=True):
        alone = train_one(base, job, LORA, config)
        assert len(require_lora(trained.adapter).pairs) == 2 * len(LORA.targets)
        assert max_update_difference(trained.adapter, alone.adapter) <= 1e-5
        assert trained.last_loss < trained.first_loss


@pytest.mark.parametrize("tokens", [7, 14], ids=["short", "long"])
def test_train_many_packed_equals_reference_on_every_family(base: Base, tokens: int) -> None:
    """Short rows fit all attention windows, so they are packed; longer ones stay padded if layers
    have windows."""
    work = [
        TrainingJob(
            person=f"p{n}",
            examples=tuple(
                Example(e.ids[: tokens - i % 3], tokens - 4)
                for i, e in enumerate(draw_examples(3 + n, seed=n))
            ),
        )
        for n in range(2)
    ]
    # Rows within all attention windows can be packed.
    packs = has_full_attention(base, tokens)
    assert packs or tokens > 8
    config, engine = TrainConfig(rate=5e-3, epochs=2, batch=2), EngineConfig(layout="packed")
    with pytest.MonkeyPatch.context() as patch:
        calls: list[int] = []
        attend = varlen.find_kernel
        patch.setattr(varlen, "find_kernel", lambda q: calls.append(1) or attend(q))
        together = train_many(base, work, LORA, config, engine)
    # The kernel has no soft cap, so models with one never ask for it.
    capped = getattr(base.model.config, "attn_logit_softcapping", None)
    assert bool(calls) is (packs and capped is None)
    for job, ours in zip(work, together, strict=True):
        assert (
            max_update_difference(ours.adapter, train_one(base, job, LORA, config).adapter) <= 1e-5
        )


@pytest.mark.parametrize(
    "lora",
    [
        replace(LORA, active="answer"),
        replace(LORA, top_layers=1),
        replace(LORA, active="answer", top_layers=1),
    ],
    ids=lambda lora: lora.description,
)
def test_train_many_partial_forwards_equal_reference_on_every_family(
    base: Base, lora: LoraConfig
) -> None:
    call = encode_invocation(base.tokenizer)
    examples = [
        Example((*e.ids[:10], *call, *e.ids[10:13]), 10 + len(call)) for e in draw_examples(4, 1)
    ]
    job, config = TrainingJob(person="p", examples=tuple(examples)), TrainConfig(epochs=2, batch=2)
    # Partial forwards need full attention; where layers have windows, rows run whole.
    (ours,) = train_many(base, [job], lora, config)
    alone = train_one(base, job, lora, config)
    assert max_update_difference(ours.adapter, alone.adapter) <= 1e-5


@torch.no_grad()
def test_lora_stack_equals_each_person_alone_on_every_family(base: Base) -> None:
    adapters: list[LoraAdapter] = []
    for n in range(2):
        start = init_lora(base, LORA, seed=n, person="p")
        pairs = {path: (a, b + 0.1) for path, (a, b) in start.pairs.items()}
        adapters.append(LoraAdapter(config=LORA, base=base.identity, pairs=pairs))
    stack = stack_adapters(base, adapters)
    ids = torch.tensor([e.ids[:12] for e in draw_examples(3, seed=2)])
    with stack.activate(torch.tensor([1, -1, 0])):
        together = base.model(input_ids=ids).logits
    for row, slot in enumerate((1, -1, 0)):
        with stack.activate(torch.tensor([slot])):
            alone = base.model(input_ids=ids[row : row + 1]).logits
        assert torch.allclose(together[row], alone[0], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(together[0], base.model(input_ids=ids[:1]).logits[0], atol=1e-3)


def test_load_base_rejects_bidirectional_model(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=258, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    save_random_model(config, tmp_path / "bert")
    with pytest.raises(MismatchError, match="bert"):
        load_base(tmp_path / "bert", device="cpu")


@torch.no_grad()
def test_compute_target_nll_scales_logits_as_model_does(tmp_path: Path) -> None:
    """Granite divides its logits; without that division every loss would be silently wrong."""
    save_random_model(GraniteConfig(**SIZES, logits_scaling=8.0), tmp_path / "granite")
    base = load_base(tmp_path / "granite", dtype="float64", device="cpu")
    assert not base.ways.head
    test_compute_target_nll_equals_full_forward(base)
