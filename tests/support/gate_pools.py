"""Pools of an exact base and drawn target users, for tests that compare ways of assembling."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.prompts.render import Example
from support.job_strategies import make_exact_base
from support.sharers import LORA, create_empty_pool, make_contribution

TOKENS = 200
TargetUsers = dict[str, tuple[Example, ...]]


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@pytest.fixture(scope="module")
def pools(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pool]:
    """Pools of six sharers: all tokens, answers only, last layer only, and partly shared sites."""
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
                    make_contribution(pool, base, n, _choose_sites(pool, n, name == "partial"))
                    for n in range(6)
                ]
            )
    return out


def _choose_sites(pool: Pool, number: int, partial: bool) -> tuple[str, ...]:
    """A sharer's sites. With ``partial``, some sites have one sharer, and one site has none."""
    if not partial:
        return pool.sites
    return tuple(p for at, p in enumerate(pool.sites[1:]) if at == number or (at * number) % 3 == 1)


@st.composite
def draw_target_users(draw: st.DrawFn, call: Sequence[int] = ()) -> TargetUsers:
    """One to four people with one to five items; some share a prefix, some have equal prompts."""
    generator = random.Random(draw(st.integers(0, 10**6)))
    opening = generator.sample(range(TOKENS), draw(st.sampled_from([0, 5, 12])))
    known: list[list[int]] = []

    def make_item() -> Example:
        if not known or draw(st.booleans()):
            size = draw(st.integers(1, 20))
            known.append(opening[: draw(st.sampled_from([0, 7, 12]))])
            known[-1] = [*known[-1], *generator.sample(range(TOKENS), size), *call]
        prompt = generator.choice(known)
        answer = generator.choices(range(TOKENS), k=draw(st.integers(1, 4)))
        tally = ((answer[0], 3), (TOKENS, 2)) if draw(st.integers(0, 5)) == 0 else ()
        return Example((*prompt, *answer), len(prompt), tally)

    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return {f"p{n}": tuple(make_item() for _ in range(size)) for n, size in enumerate(sizes)}
