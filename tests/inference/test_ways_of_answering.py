"""Answers and scores on bases without fast ways equal those of one row after another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from idiolect.adapters.hooks import ActiveLora, activate_loras, build_token_mask
from idiolect.adapters.lora import LoraAdapter, merge_weight
from idiolect.inference.generator import Generator
from idiolect.inference.nll import compute_target_nll
from idiolect.inference.scoring import compute_item_losses
from idiolect.models.base import Base
from idiolect.models.logits import has_plain_head
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from support.job_strategies import LORA
from support.odd_families import (
    FAMILIES,
    PLAIN,
    make_alike_jobs,
    make_family_base,
    make_family_lora,
)
from support.recorded_ids import record_ids
from support.tiny_people import random_adapter

TOKENS = 6
SLOW_WAYS = [
    {},
    {"left_padded": False},
    {"cached": False},
    {"batched": False},
    {"batched": False, "cached": False},
]


def list_requests(base: Base) -> list[tuple[str, Example]]:
    """Return the examples of two people, and of one without an adapter, in mixed order."""
    jobs = make_alike_jobs(base)
    rows = [(job.person, example) for job in jobs for example in job.examples]
    return sorted(rows, key=lambda row: row[1].ids[-1])


def make_adapters(base: Base, lora: Any) -> dict[str, LoraAdapter]:
    return {person: random_adapter(base, n, lora, 1.0) for n, person in enumerate(("p0", "p1"))}


@torch.no_grad()
def generate_alone(base: Base, adapter: LoraAdapter | None, prompt: Sequence[int]) -> str:
    """Return the greedy answer of transformers' ``generate``, with the adapter merged in."""
    model = copy.deepcopy(base.model)
    if adapter:
        for path, (a, b) in adapter.pairs.items():
            weight = model.get_submodule(path).weight
            weight.data = merge_weight(weight.data, a, b, adapter.config.scale)
    ids = torch.tensor([prompt])
    end = base.tokenizer.eos_token_id
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        use_cache=False,
        pad_token_id=end,
        eos_token_id=end,
    )
    return str(base.tokenizer.decode(found[0, len(prompt) :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_generate_greedy_equals_transformers_one_by_one(name: str) -> None:
    base = make_family_base(name)
    adapters = make_adapters(base, make_family_lora(name))
    requests = [(person, e.ids[: e.answer_start]) for person, e in list_requests(base)[:6]]
    expected = [generate_alone(base, adapters.get(person), ids) for person, ids in requests]
    assert len(set(expected)) > 2
    for slow in SLOW_WAYS:
        base = replace(base, ways=replace(FAMILIES[name][2], **slow))
        found = Generator(base, adapters).generate_greedy(requests, max_tokens=TOKENS)
        assert found == expected, slow


def test_generate_greedy_pads_and_caches_only_if_that_is_right() -> None:
    base = make_tiny_base()
    requests = [("p0", (70, 71, 72)), ("p0", (80, 81, 82, 83, 84))]
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, ways in (
        ("fast", Ways()),
        ("one prompt at a time", Ways(left_padded=False)),
        ("no cache", Ways(cached=False)),
    ):
        with record_ids(base) as seen:
            Generator(replace(base, ways=ways)).generate_greedy(requests, max_tokens=2)
        shapes[name] = [tuple(ids.shape) for ids in seen]
    assert shapes["fast"] == [(2, 5), (2, 1)]
    assert shapes["one prompt at a time"] == [(1, 5), (1, 1), (1, 3), (1, 1)]
    assert shapes["no cache"] == [(2, 5), (2, 6)]


@pytest.mark.parametrize("ways", [Ways(cached=False), Ways(left_padded=False), PLAIN])
def test_generate_greedy_on_answers_only_is_the_same_without_cache(ways: Ways) -> None:
    """Each step repeats the prompt, on which the adapter still does not act."""
    base = make_tiny_base()
    adapters = make_adapters(base, replace(LORA, active="answer"))
    requests = [(person, e.ids[: e.answer_start]) for person, e in list_requests(base)]
    expected = Generator(base, adapters).generate_greedy(requests, max_tokens=TOKENS)
    base = replace(base, ways=ways)
    assert Generator(base, adapters).generate_greedy(requests, max_tokens=TOKENS) == expected


@pytest.mark.parametrize("name", ["opt", "mamba", "lfm2", "qwen3_5_text"])
def test_beam_search_is_the_same_without_cache(name: str) -> None:
    base = make_family_base(name)
    adapters = make_adapters(base, make_family_lora(name))
    requests = [(person, e.ids[: e.answer_start]) for person, e in list_requests(base)[:2]]
    found = Generator(base, adapters).beam_search(requests, beams=3, max_tokens=3)
    base = replace(base, ways=replace(base.ways, cached=False))
    assert Generator(base, adapters).beam_search(requests, beams=3, max_tokens=3) == found
    assert all(found)


@torch.no_grad()
def score_alone(base: Base, adapter: LoraAdapter | None, example: Example) -> float:
    """Return the summed loss of an example in nats, alone in its forward."""
    loras = []
    if adapter:
        active = build_token_mask(base, adapter.config, [example])
        loras = [ActiveLora(adapter.pairs, adapter.config.scale, active)]
    batch = collate([example], pad=base.pad_token_id, device=base.device)
    with activate_loras(base.model, loras):
        return float(compute_target_nll(base.model, batch).sum())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batched", [True, False])
def test_likelihoods_equal_those_of_single_rows(name: str, batched: bool) -> None:
    base = make_family_base(name)
    adapters, rows = make_adapters(base, make_family_lora(name)), list_requests(base)
    expected = [score_alone(base, adapters.get(person), example) for person, example in rows]
    base = replace(base, ways=replace(base.ways, batched=batched))
    found = Generator(base, adapters).compute_likelihoods(rows)
    assert [one.nll for one in found] == pytest.approx(expected, rel=1e-4)
    losses = compute_item_losses(base, rows, adapters, forward_tokens=200)
    means = [nats / example.num_targets for nats, (_, example) in zip(expected, rows, strict=True)]
    assert losses == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize("name", ["opt", "gpt_neo"])
@pytest.mark.parametrize("answers", [[(70,), (71,)], [(70, 72), (71,)]])
def test_score_choices_is_the_same_in_single_rows(
    name: str, answers: list[tuple[int, ...]]
) -> None:
    base = make_family_base(name)
    adapters = make_adapters(base, make_family_lora(name))
    requests = [(person, e.ids[: e.answer_start]) for person, e in list_requests(base)]
    found = Generator(base, adapters).score_choices(requests, answers)
    for row, request in zip(found, requests, strict=True):
        own = {person: a for person, a in adapters.items() if person == request[0]}
        assert row == pytest.approx(Generator(base, own).score_choices([request], answers)[0])


def test_scoring_without_batches_runs_single_rows() -> None:
    base = replace(make_tiny_base(), ways=Ways(batched=False))
    rows = list_requests(base)
    assert has_plain_head(base.model)  # tried once per model, in a forward of its own
    with record_ids(base) as seen:
        compute_item_losses(base, rows, {}, forward_tokens=4096)
        Generator(base).compute_likelihoods(rows)
        Generator(base).score_choices([(p, e.ids) for p, e in rows], [(70,), (71,)])
    shapes = [tuple(ids.shape) for ids in seen]
    assert len(shapes) == 3 * len(rows)
    assert {shape[0] for shape in shapes} == {1}


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "fc1")])
def test_scoring_with_an_adapter_that_changes_nothing_gives_the_losses_of_the_base(
    targets: tuple[str, ...],
) -> None:
    base = make_family_base("opt")
    lora = replace(make_family_lora("opt"), targets=targets)
    rows = list_requests(base)
    nothing = {person: random_adapter(base, 0, lora, 0.0) for person in ("p0", "p1")}
    found = compute_item_losses(base, rows, nothing, forward_tokens=4096)
    assert found == compute_item_losses(base, rows, {}, forward_tokens=4096)
