"""Assembling gives the same recipes without token trees and without shared forwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.ways import Ways
from idiolect.pieces.assembly import by_gates, by_likelihood
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_likelihood import LikelihoodMixture
from idiolect.pieces.assembly.target_users import TargetUser
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from support.gate_pools import base, pools
from support.job_strategies import make_exact_base
from support.odd_families import PLAIN, make_alike_jobs, make_family_base, make_family_lora
from support.sharers import create_empty_pool, make_contribution

__all__ = ["base", "pools"]


def forbid_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each forward of a token tree fail."""

    def fail(*_: object) -> None:
        raise AssertionError("a token tree ran")

    for module in (by_gates, by_likelihood):
        monkeypatch.setattr(module, "forward_tree", fail)


@pytest.mark.parametrize("by", ["likelihood", "gates"])
@pytest.mark.parametrize("kind", ["all", "answer", "top"])
@pytest.mark.parametrize("ways", [Ways(tree=False), PLAIN])
def test_assemble_recipes_is_the_same_without_trees(
    pools: dict[str, Pool], kind: str, by: str, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, pool = make_exact_base(), pools[kind]
    config = AssembleConfig(by="gates" if by == "gates" else "likelihood", top_k=2)
    people = {job.person: job.examples for job in make_alike_jobs(base)}
    expected = assemble_recipes(base, pool, people, config)
    forbid_trees(monkeypatch)
    found = assemble_recipes(replace(base, ways=ways), pool, people, config)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(torch.as_tensor(ours.pick), torch.as_tensor(theirs.pick))
        weights = torch.as_tensor(ours.weight), torch.as_tensor(theirs.weight)
        assert torch.allclose(*weights, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def flat_pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, Pool]:
    base = make_family_base("opt")
    pool = create_empty_pool(tmp_path_factory.mktemp("pool"), base, make_family_lora("opt"))
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, n) for n in range(3)])
    return base, pool


def test_compute_nll_runs_flat_targets_one_person_at_a_time(
    flat_pool: tuple[Base, Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, pool = flat_pool
    base = replace(base, ways=replace(base.ways, attention=True, tree=True))
    forbid_trees(monkeypatch)
    (job, *_), config = make_alike_jobs(base), AssembleConfig(by="likelihood")
    found, expected = (
        LikelihoodMixture(one, pool, config, forward_tokens=4096).compute_nll(
            TargetUser(job.person, job.examples)
        )
        for one in (base, replace(base, ways=replace(PLAIN, flat_modules=base.ways.flat_modules)))
    )
    assert torch.allclose(found, expected, rtol=1e-5)
    assert len({round(float(nats), 2) for nats in found}) == 4


def test_assemble_recipes_by_gates_refuses_flat_targets(flat_pool: tuple[Base, Pool]) -> None:
    base, pool = flat_pool
    people = {job.person: job.examples for job in make_alike_jobs(base)}
    with pytest.raises(UsageError, match=r"'gates'.*tiny-opt.*fc1.*'likelihood'"):
        assemble_recipes(base, pool, people, AssembleConfig(by="gates", top_k=2))
