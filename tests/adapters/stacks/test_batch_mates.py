"""A hostile adapter changes no bit of the other rows of its batch, in any stack."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.kinds import KINDS, stack_adapters
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.adapters.stacks.gates import GateVectorStack
from idiolect.models.base import Base
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode, forward_tree
from idiolect.models.forward.varlen import PackedSequences, forward_packed
from idiolect.models.logits import compute_logits
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.chat_template import encode_invocation
from support.random_adapters import random_adapter
from support.toy_adapter import BIAS, BiasConfig, init_bias

SLOTS, TOKENS = 3, 5
CONFIGS = {
    "all": LoraConfig(rank=3, alpha=6.0, targets=("q_proj", "v_proj", "o_proj", "up_proj")),
    "answer": LoraConfig(rank=3, active="answer"),
}
HOSTILE = st.sampled_from(
    [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e20, 1e-38, 1e-45, -1e-45, 0.0]
)
"""Not finite, huge, tiny and denormal numbers."""
STACKS = ("lora", "lora on answers", "gates", "gates and adapter", "bias")
AnyStack = TrainableStack[object]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def base(request: pytest.FixtureRequest) -> Base:
    return make_tiny_base(dtype=request.param)


@pytest.fixture(autouse=True)
def toy_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, BiasConfig.kind, BIAS)


def make_stack(base: Base, name: str) -> tuple[AnyStack, Tensor]:
    """Return a filled stack, and the numbers [U, P] that a hostile person controls."""
    if name == "bias":
        config = BiasConfig(spread=0.3)
        biases: list[Adapter] = [init_bias(base, config, seed=0, person=str(n)) for n in range(3)]
        stack = stack_adapters(base, biases)
        return stack, stack.weights  # type: ignore[return-value]
    config = CONFIGS["answer" if name == "lora on answers" else "all"]
    adapters = [random_adapter(base, config, seed=n) for n in range(SLOTS)]
    if not name.startswith("gates"):
        lora = stack_adapters(base, adapters)
        return lora, lora.weights  # type: ignore[return-value]
    gates = GateVectorStack(base, config, SLOTS)
    for slot, adapter in enumerate(adapters):
        gates.load_slot(slot, adapter)
    gates.weights.copy_(torch.randn(gates.weights.shape, generator=torch.manual_seed(1)))
    return gates, gates.lora_stack.weights if name == "gates and adapter" else gates.weights  # type: ignore[return-value]


def replace_slot(numbers: Tensor, slot: int, value: float, share: float) -> None:
    """Replace a share of a slot's numbers, drawn at random, by one value."""
    chosen = torch.rand(numbers.shape[1], generator=torch.manual_seed(2)) < share
    numbers[slot, chosen.to(numbers.device)] = value


@torch.no_grad()
def compute_padded(base: Base, stack: AnyStack, rows: list[int]) -> Tensor:
    """Return the logits of one row of tokens per entry of ``rows``."""
    ask = encode_invocation(base.tokenizer)
    ids = [[*ask, *range(60 + n, 60 + n + TOKENS)] for n in range(len(rows))]
    prompts = [list(ask)] * len(rows)
    width = len(ids[0])
    with stack.activate(torch.tensor(rows), active=stack.token_mask(prompts, width)):
        return base.model(input_ids=torch.tensor(ids)).logits


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("hostile_slot", range(SLOTS))
@settings(max_examples=8)
@given(value=HOSTILE, share=st.sampled_from([0.01, 0.5, 1.0]))
def test_stack_activate_keeps_bits_of_other_rows(
    base: Base, name: str, hostile_slot: int, value: float, share: float
) -> None:
    rows = [-1, 0, 1, -1, 2, 0, 1, 2, -1]
    stack, numbers = make_stack(base, name)
    harmless = compute_padded(base, stack, rows)
    replace_slot(numbers, hostile_slot, value, share)
    found = compute_padded(base, stack, rows)
    others = [n for n, slot in enumerate(rows) if slot != hostile_slot]
    assert torch.equal(found[others], harmless[others])
    assert found[others].isfinite().all()


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("hostile_slot", range(SLOTS))
@settings(max_examples=8)
@given(value=HOSTILE, share=st.sampled_from([0.01, 0.5, 1.0]))
def test_stack_backward_keeps_gradients_of_other_slots(
    base: Base, hostile_slot: int, value: float, share: float
) -> None:
    def compute_gradients(stack: AnyStack) -> Tensor:
        ids = torch.arange(60, 60 + 4 * TOKENS).view(4, TOKENS)
        with stack.activate(torch.tensor([-1, 0, 1, 2])):
            logits = base.model(input_ids=ids).logits
        stack.backward(logits.float().logsumexp(-1).sum())
        assert stack.grads is not None
        return stack.grads

    stack, numbers = make_stack(base, "lora")
    harmless = compute_gradients(stack.train()).clone()
    replace_slot(numbers, hostile_slot, value, share)
    found = compute_gradients(stack.train())
    others = [slot for slot in range(SLOTS) if slot != hostile_slot]
    assert torch.equal(found[others], harmless[others])


def forward_concatenated(base: Base, lengths: list[int]) -> Tensor:
    """Run texts of these lengths one after another; returns hidden states [N, D]."""
    ids = torch.arange(60, 60 + sum(lengths))
    return forward_packed(base, ids, PackedSequences.from_lengths(lengths, base.device))


def forward_as_tree(base: Base, lengths: list[int]) -> Tensor:
    """The same, with the texts as the spans of a tree."""
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    spans = [
        TreeNode(tuple(range(60 + start, 60 + start + length)))
        for start, length in zip(starts, lengths, strict=True)
    ]
    return forward_tree(base, PrefixTree.from_nodes(spans, base))


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("run", [forward_concatenated, forward_as_tree])
@pytest.mark.parametrize("hostile_slot", range(SLOTS))
@settings(max_examples=8)
@given(value=HOSTILE, share=st.sampled_from([0.01, 0.5, 1.0]), first=st.booleans())
def test_stack_activate_packed_keeps_bits_of_other_tokens(
    base: Base,
    run: Callable[[Base, list[int]], Tensor],
    hostile_slot: int,
    value: float,
    share: float,
    first: bool,
) -> None:
    """Texts of different lengths, so that the tree's groups have padding; the bare base is at one
    end or at the other."""
    slots, lengths = [0, 1, 2, -1], [4, 7, 3, 6]
    if first:
        slots, lengths = slots[::-1], lengths[::-1]
    stack, numbers = make_stack(base, "lora")

    @torch.no_grad()
    def compute_all() -> list[Tensor]:
        active: AbstractContextManager[None] = stack.activate_packed(slots, lengths)
        with active:
            return list(compute_logits(base.model, run(base, lengths)).split(lengths))

    harmless = compute_all()
    replace_slot(numbers, hostile_slot, value, share)
    for slot, before, after in zip(slots, harmless, compute_all(), strict=True):
        if slot != hostile_slot:
            assert torch.equal(before, after) and after.isfinite().all()
