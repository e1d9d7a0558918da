"""One thread uses a model at a time: real threads, in step by barriers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch

from idiolect.adapters.hooks import ActiveLora, activate_loras
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.stacks.gates import GateVectorStack
from idiolect.errors import BusyError
from idiolect.inference.generator import Generator
from idiolect.models.attention import use_attention
from idiolect.models.base import Base
from idiolect.models.compiled_ops import compile_elementwise
from idiolect.models.cpu.chunked_mlp import chunk_mlp
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.scorecard.quantization import temporarily_quantize
from support.random_adapters import compute_logits, make_token_ids, random_adapter

ROWS = torch.zeros(2, dtype=torch.long)
Use = Callable[[Base], AbstractContextManager[object]]


@pytest.fixture
def base() -> Base:
    return make_tiny_base()


def activate_stack(base: Base) -> AbstractContextManager[None]:
    return stack_adapters(base, [random_adapter(base)]).activate(ROWS)


def activate_packed(base: Base) -> AbstractContextManager[None]:
    return stack_adapters(base, [random_adapter(base)]).activate_packed([0], [24])


def activate_gates(base: Base) -> AbstractContextManager[None]:
    stack = GateVectorStack(base, random_adapter(base).config, 1)
    stack.load_slot(0, random_adapter(base))
    return stack.activate(ROWS)


def activate_plain(base: Base) -> AbstractContextManager[None]:
    adapter = random_adapter(base)
    return activate_loras(base.model, [ActiveLora(adapter.pairs, 1.0, 1.0)])


ADAPTERS: dict[str, Use] = {
    "stack": activate_stack,
    "packed": activate_packed,
    "gates": activate_gates,
    "plain": activate_plain,
}
CHANGES: dict[str, Use] = {
    "attention": lambda base: use_attention(base.model),
    "prepacked": lambda base: prepack_linear(base.model),
    "chunked": lambda base: chunk_mlp(base.model),
    "compiled": lambda base: compile_elementwise(base.model, backend="eager"),
    "quantized": lambda base: temporarily_quantize(base, 8),
}


def run_thread(work: Callable[[], object]) -> BaseException | None:
    """Run work in a thread of its own to its end; returns its exception."""
    caught: list[BaseException] = []

    def catch_error() -> None:
        try:
            work()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=catch_error)
    thread.start()
    thread.join()
    return caught[0] if caught else None


@pytest.mark.finding("threads")
@pytest.mark.parametrize("first", [*ADAPTERS, *CHANGES])
@pytest.mark.parametrize("second", [*ADAPTERS, *CHANGES])
def test_second_use_of_model_in_other_thread_raises(base: Base, first: str, second: str) -> None:
    uses = ADAPTERS | CHANGES
    ids = make_token_ids(base)
    expected = compute_logits(base.model, ids)

    def use_model() -> None:
        with uses[second](base):
            raise AssertionError("a second thread changed the model")

    with uses[first](base):
        error = run_thread(use_model)
        assert isinstance(error, BusyError) and "one thread" in str(error)
    # The model is as before, and free for the next thread.
    assert torch.equal(compute_logits(base.model, ids), expected)
    assert isinstance(run_thread(use_model), AssertionError)
    assert torch.equal(compute_logits(base.model, ids), expected)


@pytest.mark.finding("threads")
@pytest.mark.parametrize("name", ADAPTERS)
def test_forward_in_other_thread_does_not_use_active_adapters(base: Base, name: str) -> None:
    ids = make_token_ids(base)
    with ADAPTERS[name](base):
        error = run_thread(lambda: compute_logits(base.model, ids))
    assert isinstance(error, BusyError)


@pytest.mark.finding("threads")
@pytest.mark.parametrize("outer", ADAPTERS)
@pytest.mark.parametrize("inner", ADAPTERS)
def test_nested_activation_raises_and_keeps_outer_one(base: Base, outer: str, inner: str) -> None:
    ids = make_token_ids(base)
    bare = compute_logits(base.model, ids)
    with ADAPTERS[outer](base):
        with pytest.raises(BusyError, match="already active"), ADAPTERS[inner](base):
            pass
        with prepack_linear(base.model), use_attention(base.model):
            pass  # faster forwards of the same thread
    assert torch.equal(compute_logits(base.model, ids), bare)
    with ADAPTERS[inner](base):
        pass


@pytest.mark.finding("threads")
def test_generators_in_two_threads_answer_right_or_raise(base: Base) -> None:
    """Each answer is the person's own or BusyError, and never another's."""
    adapters = {name: random_adapter(base, seed=n) for n, name in enumerate(("ann", "bob"))}
    request = Example((70, 71, 72, 73, 90, 91), 4)
    expected = {
        name: Generator(base, {name: adapter}).compute_likelihoods([(name, request)])
        for name, adapter in adapters.items()
    } | {"": Generator(base).compute_likelihoods([("", request)])}
    start = threading.Barrier(3)
    wrong: list[object] = []

    def ask_often(name: str) -> None:
        generator = Generator(base, {name: adapters[name]} if name else {})
        start.wait()
        for _ in range(40):
            try:
                found = generator.compute_likelihoods([(name, request)])
            except BusyError:
                continue
            wrong.extend([found] if found != expected[name] else [])

    threads = [threading.Thread(target=ask_often, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
