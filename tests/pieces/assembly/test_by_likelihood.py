"""Whole adapters weighted by likelihood: equal to the sequential version and to values by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import IntegrityError, UsageError
from idiolect.inference.scoring import iter_token_losses
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_likelihood import (
    LikelihoodMixture,
    choose_candidates,
    compute_posterior,
    select_most_probable,
)
from idiolect.pieces.assembly.target_users import TargetUser
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from support.gate_pools import TargetUsers, base, draw_target_users, pools
from support.sharers import create_empty_pool, make_contribution

__all__ = ["base", "pools"]

EXACT = 1e-10
CONFIG = AssembleConfig(by="likelihood")


@settings(max_examples=30)
@given(data=st.data(), tokens=st.sampled_from([1, 60, 10**6]))
@pytest.mark.parametrize("kind", ["all", "partial", "top", "answer"])
def test_compute_nll_equals_sequential_version(
    base: Base, pools: dict[str, Pool], data: st.DataObject, tokens: int, kind: str
) -> None:
    call = encode_invocation(base.tokenizer) if kind == "answer" else ()
    people: TargetUsers = data.draw(draw_target_users(call))
    mixture = LikelihoodMixture(base, pools[kind], CONFIG, forward_tokens=tokens)
    for person, examples in people.items():
        one = TargetUser(person, examples)
        expected = mixture.compute_nll_sequentially(one)
        assert torch.allclose(mixture.compute_nll(one), expected, rtol=0, atol=EXACT)


def test_compute_posterior_equals_values_by_hand() -> None:
    """Losses of 2, 1 and 3 nats: e^-2, e^-1 and e^-3 over their sum; at temperature 2, their
    roots."""
    likely = [math.exp(-2), math.exp(-1), math.exp(-3)]
    expected = torch.tensor([x / sum(likely) for x in likely], dtype=torch.float64)
    nats = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    assert torch.allclose(compute_posterior(nats, 1.0), expected)
    roots = [math.sqrt(x) for x in likely]
    cooler = torch.tensor([x / sum(roots) for x in roots], dtype=torch.float64)
    assert torch.allclose(compute_posterior(nats, 2.0), cooler)


@pytest.mark.finding("batch-mates")
def test_compute_posterior_gives_sharers_with_broken_losses_nothing() -> None:
    nats = torch.tensor([2.0, math.nan, 1.0, math.inf], dtype=torch.float64)
    found = compute_posterior(nats, 1.0)
    assert found[1] == found[3] == 0
    assert torch.equal(found[[0, 2]], compute_posterior(nats[[0, 2]], 1.0))


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("by", ["likelihood", "gates"])
def test_assemble_recipes_names_sharer_of_hostile_pieces(
    base: Base, tmp_path: Path, by: Any
) -> None:
    pool = create_empty_pool(tmp_path / "pool", base)
    entries = [make_contribution(pool, base, n) for n in range(2)]
    pairs = {path: (a, b * 1e30) for path, (a, b) in entries[1].adapter.pairs.items()}
    entries[1] = replace(entries[1], adapter=replace(entries[1].adapter, pairs=pairs))
    with pool.lock_for_writing():
        pool.add_sharers(entries)
    target_users = {"ann": (Example((60, 61, 62, 63, 64), 2),)}
    config = AssembleConfig(by=by, top_k=2)
    with pytest.raises(IntegrityError, match=f"sharer {entries[1].sharer}.* times as large"):
        assemble_recipes(base, pool, target_users, config)


def test_select_most_probable_skips_base_and_breaks_ties_by_order() -> None:
    weights = torch.tensor([0.5, 0.1, 0.3, 0.1, 0.0], dtype=torch.float64)
    chosen = select_most_probable(weights, 2)
    assert [n for n, _ in chosen] == [1, 0]
    assert [w for _, w in chosen] == pytest.approx([0.3, 0.1], abs=1e-3)
    assert [n for n, _ in select_most_probable(weights, 9)] == [1, 0, 2]  # none of weight 0


def test_assemble_by_likelihood_finds_matching_sharer(base: Base, pools: dict[str, Pool]) -> None:
    """A person who answers as one sharer's model would gets that sharer."""
    pool = pools["all"]
    like = pool.sharers[4]
    theirs = {like: pool.get_adapter(like)}
    items: list[Example] = []
    for start in range(12):
        prompt = (start, start + 1, start + 2)
        rows = [(like, Example((*prompt, token), len(prompt))) for token in range(40)]
        found = iter_token_losses(base, rows, theirs, forward_tokens=4096)
        plain = iter_token_losses(base, rows, {}, forward_tokens=4096)
        gain = {at: nll for at, nll, _ in plain}
        for at, nll, _ in found:
            gain[at] -= nll
        items.append(rows[max(gain, key=gain.__getitem__)][1])
    (recipe,) = assemble_recipes(base, pool, {"p": items * 40}, CONFIG)
    at = recipe.pick[0, int(recipe.weight[0].argmax())]
    assert recipe.sharers[int(at)] == like
    assert float(recipe.weight[0].sum()) <= 1 + 1e-3


def test_assemble_by_likelihood_without_similar_sharer_is_empty(base: Base, tmp_path: Path) -> None:
    """Adapters that make every answer far less likely get no weight."""
    pool = create_empty_pool(tmp_path / "pool", base)
    entry = make_contribution(pool, base, 0, pool.sites)
    wild = {path: (a * 40, b * 40) for path, (a, b) in entry.adapter.pairs.items()}
    with pool.lock_for_writing():
        pool.add_sharers([replace(entry, adapter=replace(entry.adapter, pairs=wild))])
    prompts = [(n, n + 1) for n in range(100)]
    with torch.no_grad():
        best = base.model(input_ids=torch.tensor(prompts)).logits[:, -1].argmax(dim=1).tolist()
    items = tuple(Example((*prompt, token), 2) for prompt, token in zip(prompts, best, strict=True))
    (recipe,) = assemble_recipes(base, pool, {"p": items}, replace(CONFIG, top_k=1))
    assert recipe.sharers == () and not recipe.weight.any()


def test_assemble_by_likelihood_skips_sites_that_are_not_shared(
    base: Base, pools: dict[str, Pool]
) -> None:
    pool = pools["partial"]
    people = {"p": (Example((1, 2, 3), 2), Example((4, 5, 6), 1))}
    (recipe,) = assemble_recipes(base, pool, people, replace(CONFIG, top_k=6))
    for site, path in enumerate(pool.sites):
        for at, weight in zip(
            recipe.pick[site].tolist(), recipe.weight[site].tolist(), strict=True
        ):
            assert (at < 0) == (weight == 0)
            assert at < 0 or path in pool.list_shared_modules(recipe.sharers[at])
    assert build_adapter(recipe, pool).config.rank >= pool.lora.rank


def test_assemble_by_likelihood_does_not_depend_on_other_people(
    base: Base, pools: dict[str, Pool]
) -> None:
    people = {f"p{n}": (Example((n, n + 1, n + 2), 1), Example((n, 3, 9), 2)) for n in range(4)}
    together = assemble_recipes(base, pools["all"], people, CONFIG)
    for recipe in together:
        (alone,) = assemble_recipes(
            base, pools["all"], {recipe.person: people[recipe.person]}, CONFIG
        )
        assert torch.equal(alone.pick, recipe.pick) and torch.equal(alone.weight, recipe.weight)


def test_choose_candidates_draws_stable_sample() -> None:
    sharers = [f"s{n:03}" for n in range(100)]
    config = replace(CONFIG, candidates=10)
    asked = choose_candidates(sharers, config)
    assert len(asked) == 10 and list(asked) == sorted(asked)
    assert choose_candidates(sharers, replace(config, seed=1)) != asked
    gone = [s for s in sharers if s != asked[0]]
    assert set(asked) - {asked[0]} <= set(choose_candidates(gone, config))
    assert choose_candidates(sharers[:10], config) == tuple(sharers[:10])


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"by": "luck"}, "assemble.by"),
        ({"by": "likelihood", "aggregate": "factors"}, "by gates"),
        ({"by": "likelihood", "top_p": 0.5}, "by gates"),
        ({"by": "likelihood", "sample": True}, "by gates"),
        ({"candidates": 0}, "assemble.candidates"),
    ],
)
def test_assemble_config_rejects_invalid_likelihood_settings(
    values: dict[str, object], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        AssembleConfig(**values)  # type: ignore[arg-type]
