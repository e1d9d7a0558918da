"""Batched assembling by gates equals the reference, whatever other target users run with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.kinds import stack_adapters
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_gates_reference import assemble_one
from idiolect.pieces.assembly.choose import TopK, choose_pieces
from idiolect.pieces.assembly.normalize import normalize_inputs
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from support.gate_pools import TargetUsers, base, draw_target_users, pools

EXACT = 1e-10
__all__ = ["base", "pools"]


configs = st.builds(
    AssembleConfig,
    by=st.just("gates"),
    top_k=st.integers(1, 4),
    temperature=st.sampled_from([0.3, 1.0]),
    recent_k=st.integers(0, 2),
    aggregate=st.sampled_from(["delta", "factors"]),
    sample=st.booleans(),
) | st.builds(AssembleConfig, by=st.just("gates"), top_p=st.floats(0.05, 1.0))


def is_same_recipe(one: Recipe, other: Recipe) -> bool:
    """Returns whether the picks are equal and weights differ at most by half-precision rounding."""
    return (
        (one.person, one.sharers, one.aggregate) == (other.person, other.sharers, other.aggregate)
        and torch.equal(torch.as_tensor(one.pick), torch.as_tensor(other.pick))
        and torch.allclose(torch.as_tensor(one.weight), torch.as_tensor(other.weight), atol=1e-3)
    )


@dataclass
class Seen:
    """The scores and weights of each call of ``choose_pieces``."""

    scores: list[Tensor]
    weights: list[Tensor]


@contextmanager
def record_choices() -> Iterator[Seen]:
    """Records every call of ``choose_pieces`` while inside."""
    seen = Seen([], [])

    def choose_and_record(scores: Tensor, *others: object) -> TopK:
        chosen = choose_pieces(scores, *others)  # type: ignore[arg-type]
        seen.scores += scores.double()
        seen.weights += chosen.weight
        return chosen

    with pytest.MonkeyPatch.context() as patch:
        for module in ("by_gates", "by_gates_reference"):
            patch.setattr(
                import_module(f"idiolect.pieces.assembly.{module}"),
                "choose_pieces",
                choose_and_record,
            )
        yield seen


def assemble_one_by_one(
    base: Base, pool: Pool, people: Mapping[str, Sequence[Example]], config: AssembleConfig
) -> tuple[list[Recipe], dict[str, Seen]]:
    """The reference: recipes, and the recorded choices of each person."""
    recipes: list[Recipe] = []
    notes: dict[str, Seen] = {}
    for person, examples in people.items():
        with record_choices() as notes[person]:
            recipes.append(assemble_one(base, pool, person, examples, config))
    return recipes, notes


def check_batched(
    base: Base, pool: Pool, people: TargetUsers, config: AssembleConfig, tokens: int
) -> None:
    """Compares the batched version, in two orders of people, with the reference."""
    expected, notes = assemble_one_by_one(base, pool, people, config)
    with record_choices() as seen:
        found = assemble_recipes(base, pool, people, config, forward_tokens=tokens)
    assert [r.person for r in found] == list(people)
    for ours, theirs in zip(found, expected, strict=True):
        assert is_same_recipe(ours, theirs)
    if tokens > 1000:  # one forward: for each site, all people
        for n, person in enumerate(people):
            ours, theirs = seen.scores[n :: len(people)], notes[person].scores
            assert torch.allclose(torch.stack(ours), torch.stack(theirs), rtol=0, atol=EXACT)
            for site, weight in enumerate(notes[person].weights):
                w = seen.weights[n + site * len(people)][: len(weight)]
                assert torch.allclose(w, weight, rtol=0, atol=EXACT)
    reversed_people = dict(reversed(people.items()))
    again = assemble_recipes(base, pool, reversed_people, config, forward_tokens=tokens)
    assert all(is_same_recipe(a, b) for a, b in zip(reversed(again), expected, strict=True))


budgets = st.sampled_from([1, 60, 10**6])


@settings(max_examples=40)
@given(
    people=draw_target_users(),
    config=configs,
    tokens=budgets,
    kind=st.sampled_from(["all", "partial"]),
)
def test_assemble_recipes_equals_reference(
    base: Base,
    pools: dict[str, Pool],
    people: TargetUsers,
    config: AssembleConfig,
    tokens: int,
    kind: str,
) -> None:
    check_batched(base, pools[kind], people, config, tokens)


@settings(max_examples=20)
@given(people=draw_target_users(), config=configs, tokens=budgets)
def test_assemble_recipes_equals_reference_in_last_layers(
    base: Base, pools: dict[str, Pool], people: TargetUsers, config: AssembleConfig, tokens: int
) -> None:
    check_batched(base, pools["top"], people, config, tokens)


@settings(max_examples=30)
@given(data=st.data(), config=configs, tokens=budgets)
def test_assemble_recipes_equals_reference_on_answers(
    base: Base, pools: dict[str, Pool], data: st.DataObject, config: AssembleConfig, tokens: int
) -> None:
    people = data.draw(draw_target_users(encode_invocation(base.tokenizer)))
    check_batched(base, pools["answer"], people, config, tokens)


def test_assemble_recipes_counts_each_answer_of_an_item(base: Base, pools: dict[str, Pool]) -> None:
    short, long = Example((1, 2, 3, 4), 3, ((4, 3), (5, 2))), Example((6, 7, 8, 9), 2)
    (tallied,) = assemble_recipes(
        base, pools["all"], {"p": (short, long)}, AssembleConfig(by="gates")
    )
    several = [replace(short, label_counts=())] * 5
    (spelled,) = assemble_recipes(
        base, pools["all"], {"p": (*several, long)}, AssembleConfig(by="gates")
    )
    assert is_same_recipe(tallied, spelled)
    (once,) = assemble_recipes(
        base, pools["all"], {"p": (several[0], long)}, AssembleConfig(by="gates")
    )
    assert not is_same_recipe(tallied, once)


@pytest.mark.parametrize("aggregate", ["delta", "factors"])
@pytest.mark.parametrize("kind", ["all", "answer", "partial"])
@torch.no_grad()
def test_build_adapter_reproduces_scores_of_assembling(
    base: Base, pools: dict[str, Pool], kind: str, aggregate: Any
) -> None:
    """With the recipe's adapter active, every module's input gives the same scores again."""
    pool, call = pools[kind], encode_invocation(base.tokenizer)
    prompts = [tuple(range(n, 2 * n + 5)) + call for n in (3, 8, 9)]
    people = {"p": tuple(Example((*p, 50, 60), len(p)) for p in prompts)}
    with record_choices() as seen:
        (recipe,) = assemble_recipes(
            base, pool, people, AssembleConfig(by="gates", aggregate=aggregate)
        )
    stack = stack_adapters(base, [build_adapter(recipe, pool)])
    found: dict[str, Tensor] = {}

    def add_input(path: str, x: Tensor, e: Example) -> None:
        units, _ = normalize_inputs(x[0, e.answer_start - 1 : -1])
        found[path] = found.get(path, 0) + units.mean(dim=0) / len(prompts)

    for e in people["p"]:
        with ExitStack() as hooks:
            for path in pool.sites:
                module = base.model.get_submodule(path)
                handle = module.register_forward_pre_hook(
                    lambda module, inputs, path=path, e=e: add_input(path, inputs[0], e)
                )
                hooks.callback(handle.remove)
            active = stack.token_mask([e.ids[: e.answer_start]], len(e.ids))
            with stack.activate(torch.tensor([0]), active=active):
                base.model(input_ids=torch.tensor([e.ids]))
    for path, scores in zip(pool.sites, seen.scores, strict=True):
        again = pool.load_gates(path).double() @ found[path] / len(found[path]) ** 0.5
        assert torch.allclose(again, scores, rtol=0, atol=1e-5)  # served in fp32
