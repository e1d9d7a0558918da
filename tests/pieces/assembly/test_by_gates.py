"""Assembling many at once: as each alone, as the obvious version, in whatever company."""

from __future__ import annotations

import random
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
from idiolect.pieces.assembly.normalise import normalise_inputs
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from support.job_strategies import make_exact_base
from support.sharers import LORA, create_empty_pool, make_contribution

EXACT = 1e-10
TOKENS = 200
Newcomers = dict[str, tuple[Example, ...]]


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@pytest.fixture(scope="module")
def pools(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pool]:
    """Six sharers each: on all tokens, on answers, in the last layer, and with sites left out."""
    folder = tmp_path_factory.mktemp("pools")
    kinds = {
        "all": LORA,
        "answer": replace(LORA, active="answer"),
        "top": replace(LORA, top_layers=1, targets=("q_proj", "down_proj")),
        "partial": LORA,
    }
    out: dict[str, Pool] = {}
    for name, lora in kinds.items():
        pool = out[name] = create_empty_pool(folder / name, base, lora)
        with pool.lock_for_writing():
            pool.add_sharers(
                [
                    make_contribution(pool, base, n, _some(pool, n, name == "partial"))
                    for n in range(6)
                ]
            )
    return out


def _some(pool: Pool, number: int, partial: bool) -> tuple[str, ...]:
    """A sharer's sites: with ``partial`` a part, so that some have one sharer, and one nobody."""
    if not partial:
        return pool.sites
    return tuple(p for at, p in enumerate(pool.sites[1:]) if at == number or (at * number) % 3 == 1)


@st.composite
def newcomers(draw: st.DrawFn, call: Sequence[int] = ()) -> Newcomers:
    """One to four people with one to five items, some beginning alike, some with equal prompts."""
    generator = random.Random(draw(st.integers(0, 10**6)))
    opening = generator.sample(range(TOKENS), draw(st.sampled_from([0, 5, 12])))
    known: list[list[int]] = []

    def item() -> Example:
        if not known or draw(st.booleans()):
            size = draw(st.integers(1, 20))
            known.append(opening[: draw(st.sampled_from([0, 7, 12]))])
            known[-1] = [*known[-1], *generator.sample(range(TOKENS), size), *call]
        prompt = generator.choice(known)
        answer = generator.choices(range(TOKENS), k=draw(st.integers(1, 4)))
        tally = ((answer[0], 3), (TOKENS, 2)) if draw(st.integers(0, 5)) == 0 else ()
        return Example((*prompt, *answer), len(prompt), tally)

    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return {f"p{n}": tuple(item() for _ in range(size)) for n, size in enumerate(sizes)}


configs = st.builds(
    AssembleConfig,
    by=st.just("gates"),
    top_k=st.integers(1, 4),
    temperature=st.sampled_from([0.3, 1.0]),
    recent_k=st.integers(0, 2),
    aggregate=st.sampled_from(["delta", "factors"]),
    sample=st.booleans(),
) | st.builds(AssembleConfig, by=st.just("gates"), top_p=st.floats(0.05, 1.0))


def same(one: Recipe, other: Recipe) -> bool:
    """The same picks, and weights that differ by a rounding to half precision at most."""
    return (
        (one.person, one.sharers, one.aggregate) == (other.person, other.sharers, other.aggregate)
        and torch.equal(torch.as_tensor(one.pick), torch.as_tensor(other.pick))
        and torch.allclose(torch.as_tensor(one.weight), torch.as_tensor(other.weight), atol=1e-3)
    )


@dataclass
class Seen:
    """What the rule was given, and what it gave, call after call."""

    scores: list[Tensor]
    weights: list[Tensor]


@contextmanager
def noted() -> Iterator[Seen]:
    """While inside, every call of ``choose`` is noted."""
    seen = Seen([], [])

    def noting(scores: Tensor, *others: object) -> TopK:
        chosen = choose_pieces(scores, *others)  # type: ignore[arg-type]
        seen.scores += scores.double()
        seen.weights += chosen.weight
        return chosen

    with pytest.MonkeyPatch.context() as patch:
        for module in ("by_gates", "by_gates_reference"):
            patch.setattr(
                import_module(f"idiolect.pieces.assembly.{module}"), "choose_pieces", noting
            )
        yield seen


def one_by_one(
    base: Base, pool: Pool, people: Mapping[str, Sequence[Example]], config: AssembleConfig
) -> tuple[list[Recipe], dict[str, Seen]]:
    """The obvious way: recipes, and what was seen on the way to each."""
    recipes: list[Recipe] = []
    notes: dict[str, Seen] = {}
    for person, examples in people.items():
        with noted() as notes[person]:
            recipes.append(assemble_one(base, pool, person, examples, config))
    return recipes, notes


def check(base: Base, pool: Pool, people: Newcomers, config: AssembleConfig, tokens: int) -> None:
    """Batched, in one order and the other, against the obvious version."""
    expected, notes = one_by_one(base, pool, people, config)
    with noted() as seen:
        found = assemble_recipes(base, pool, people, config, forward_tokens=tokens)
    assert [r.person for r in found] == list(people)
    for ours, theirs in zip(found, expected, strict=True):
        assert same(ours, theirs)
    if tokens > 1000:  # one forward: site after site, at each all people
        for n, person in enumerate(people):
            ours, theirs = seen.scores[n :: len(people)], notes[person].scores
            assert torch.allclose(torch.stack(ours), torch.stack(theirs), rtol=0, atol=EXACT)
            for site, weight in enumerate(notes[person].weights):
                w = seen.weights[n + site * len(people)][: len(weight)]
                assert torch.allclose(w, weight, rtol=0, atol=EXACT)
    turned = dict(reversed(people.items()))
    again = assemble_recipes(base, pool, turned, config, forward_tokens=tokens)
    assert all(same(a, b) for a, b in zip(reversed(again), expected, strict=True))


budgets = st.sampled_from([1, 60, 10**6])


@settings(max_examples=40)
@given(people=newcomers(), config=configs, tokens=budgets, kind=st.sampled_from(["all", "partial"]))
def test_everyone_gets_what_they_get_alone(
    base: Base,
    pools: dict[str, Pool],
    people: Newcomers,
    config: AssembleConfig,
    tokens: int,
    kind: str,
) -> None:
    check(base, pools[kind], people, config, tokens)


@settings(max_examples=20)
@given(people=newcomers(), config=configs, tokens=budgets)
def test_in_the_last_layers_alone(
    base: Base, pools: dict[str, Pool], people: Newcomers, config: AssembleConfig, tokens: int
) -> None:
    check(base, pools["top"], people, config, tokens)


@settings(max_examples=30)
@given(data=st.data(), config=configs, tokens=budgets)
def test_on_answers_alone(
    base: Base, pools: dict[str, Pool], data: st.DataObject, config: AssembleConfig, tokens: int
) -> None:
    people = data.draw(newcomers(encode_invocation(base.tokenizer)))
    check(base, pools["answer"], people, config, tokens)


def test_an_item_that_stands_for_several_answers_counts_as_often(
    base: Base, pools: dict[str, Pool]
) -> None:
    short, long = Example((1, 2, 3, 4), 3, ((4, 3), (5, 2))), Example((6, 7, 8, 9), 2)
    (tallied,) = assemble_recipes(
        base, pools["all"], {"p": (short, long)}, AssembleConfig(by="gates")
    )
    several = [replace(short, label_counts=())] * 5
    (spelled,) = assemble_recipes(
        base, pools["all"], {"p": (*several, long)}, AssembleConfig(by="gates")
    )
    assert same(tallied, spelled)
    (once,) = assemble_recipes(
        base, pools["all"], {"p": (several[0], long)}, AssembleConfig(by="gates")
    )
    assert not same(tallied, once)


@pytest.mark.parametrize("aggregate", ["delta", "factors"])
@pytest.mark.parametrize("kind", ["all", "answer", "partial"])
@torch.no_grad()
def test_what_is_served_is_what_modules_saw_while_it_was_made(
    base: Base, pools: dict[str, Pool], kind: str, aggregate: Any
) -> None:
    """The recipe's adapter on the newcomer's items: every module's scores come out again."""
    pool, call = pools[kind], encode_invocation(base.tokenizer)
    prompts = [tuple(range(n, 2 * n + 5)) + call for n in (3, 8, 9)]
    people = {"p": tuple(Example((*p, 50, 60), len(p)) for p in prompts)}
    with noted() as seen:
        (recipe,) = assemble_recipes(
            base, pool, people, AssembleConfig(by="gates", aggregate=aggregate)
        )
    stack = stack_adapters(base, [build_adapter(recipe, pool)])
    found: dict[str, Tensor] = {}

    def note(path: str, x: Tensor, e: Example) -> None:
        units, _ = normalise_inputs(x[0, e.answer_start - 1 : -1])
        found[path] = found.get(path, 0) + units.mean(dim=0) / len(prompts)

    for e in people["p"]:
        with ExitStack() as hooks:
            for path in pool.sites:
                module = base.model.get_submodule(path)
                handle = module.register_forward_pre_hook(
                    lambda module, inputs, path=path, e=e: note(path, inputs[0], e)
                )
                hooks.callback(handle.remove)
            active = stack.token_mask([e.ids[: e.answer_start]], len(e.ids))
            with stack.activate(torch.tensor([0]), active=active):
                base.model(input_ids=torch.tensor([e.ids]))
    for path, scores in zip(pool.sites, seen.scores, strict=True):
        again = pool.load_gates(path).double() @ found[path] / len(found[path]) ** 0.5
        assert torch.allclose(again, scores, rtol=0, atol=1e-5)  # served in fp32
