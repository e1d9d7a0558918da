"""Batched gate training equals training each sharer alone, the mathematics, and a resumed run."""

from __future__ import annotations

import math
import random
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters import update_norm
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, require_lora
from idiolect.adapters.stacks.gates import GateVectors
from idiolect.errors import IntegrityError, MismatchError, TrainingError, UsageError
from idiolect.events import Event, Metrics, Progress
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.sharing.train_gates import GatesConfig, GateTrainingInput, train_gates
from idiolect.pieces.sharing.train_gates_reference import attach_gated_lora, train_gates_of_one
from idiolect.prompts.batch import collate
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.shared_prefixes import SharedPrefixes
from idiolect.training.engine.train_many import train_many
from idiolect.training.engine.trainable import GATES
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from support.job_strategies import (
    LORA,
    TOKENS,
    draw_jobs,
    engine_configs,
    make_exact_base,
    make_jobs,
)
from support.odd_families import make_alike_jobs, make_family_base, make_family_lora

EXACT, SINGLE = 1e-10, 5e-5
"""The largest distance between normalized gates in fp64 and in fp32. The worst of some thousand
examples in fp32 was 1.7e-5: a gate vector of little variance, by which normalization divides."""
STEADY = 1e-2
"""Adam's epsilon in fp32, for the reason in ``tests/training/engine/test_train_many.py``."""
KINDS = [
    LORA,
    replace(LORA, targets=("q_proj", "k_proj", "v_proj", "o_proj")),
    replace(LORA, active="answer"),
    replace(LORA, top_layers=1, targets=("v_proj", "down_proj")),
    replace(LORA, active="answer", top_layers=1),
]

torch.set_num_threads(1)
configs = st.builds(
    partial(TrainConfig, rate=0.05, weight_decay=0.0),
    batch=st.integers(1, 4),
    steps=st.integers(1, 6),
    seed=st.integers(0, 5),
    warmup=st.sampled_from([0.0, 0.3]),
)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@pytest.fixture(scope="module")
def base32() -> Base:
    return make_tiny_base()


def add_adapters(
    base: Base, work: tuple[TrainingJob, ...], lora: LoraConfig = LORA
) -> tuple[TrainingJob, ...]:
    """The same people with nonzero adapters, and with examples in the form that the adapters
    need."""
    call = encode_invocation(base.tokenizer) if lora.active == "answer" else ()

    def add_invocation(e: Example) -> Example:
        ids = (*e.ids[: e.answer_start], *call, *e.ids[e.answer_start :])
        return Example(ids, e.answer_start + len(call), e.label_counts)

    return tuple(
        replace(
            job,
            examples=tuple(map(add_invocation, job.examples)),
            initial_adapter=make_adapter(base, lora, seed=number),
        )
        for number, job in enumerate(work)
    )


def make_adapter(base: Base, lora: LoraConfig, *, seed: int) -> LoraAdapter:
    generator = torch.Generator().manual_seed(seed)
    start = init_lora(base, lora, seed=seed, person="someone")
    pairs = {
        path: (a, 0.5 * torch.randn(b.shape, generator=generator, dtype=b.dtype))
        for path, (a, b) in start.pairs.items()
    }
    return replace(start, pairs=pairs)


def normalize(gate: Tensor) -> Tensor:
    """LN(g), without epsilon."""
    wide = gate.double()
    return (wide - wide.mean()) / wide.std(correction=0)


def max_distance(one: GateVectors, other: GateVectors) -> float:
    """The largest relative distance between LN(g) over the modules."""
    assert list(one.vectors) == list(other.vectors)
    return max(
        float(
            torch.linalg.norm(normalize(gate) - normalize(other.vectors[path])) / len(gate) ** 0.5
        )
        for path, gate in one.vectors.items()
    )


def is_bitwise_equal(one: GateVectors, other: GateVectors) -> bool:
    return all(torch.equal(gate, other.vectors[path]) for path, gate in one.vectors.items())


@settings(max_examples=40)
@given(
    work=draw_jobs(),
    config=configs,
    engine=engine_configs,
    lora=st.sampled_from(KINDS),
    keep=st.booleans(),
)
def test_train_many_gates_equals_reference(
    base: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    lora: LoraConfig,
    keep: bool,
) -> None:
    work = add_adapters(base, work, lora)
    together = train_many(base, work, lora, config, replace(engine, keep=keep), kind=GATES)
    assert [t.person for t in together] == [j.person for j in work]
    for job, ours in zip(work, together, strict=True):
        alone = train_gates_of_one(base, job, config)
        assert max_distance(ours.adapter, alone.adapter) <= EXACT
        assert (ours.steps, ours.tokens) == (alone.steps, alone.tokens)
        assert ours.first_loss == pytest.approx(alone.first_loss, rel=1e-10)
        assert ours.last_loss == pytest.approx(alone.last_loss, rel=1e-10)


@settings(max_examples=40)
@given(work=draw_jobs(), config=configs, engine=engine_configs, lora=st.sampled_from(KINDS))
def test_train_many_gates_equals_reference_in_fp32(
    base32: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    lora: LoraConfig,
) -> None:
    config, work = replace(config, epsilon=STEADY), add_adapters(base32, work, lora)
    for job, ours in zip(
        work, train_many(base32, work, lora, config, engine, kind=GATES), strict=True
    ):
        assert max_distance(ours.adapter, train_gates_of_one(base32, job, config).adapter) <= SINGLE


@settings(max_examples=30)
@given(work=draw_jobs(), config=configs, engine=engine_configs, data=st.data())
def test_train_many_gates_ignores_order_and_other_people(
    base: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    data: st.DataObject,
) -> None:
    work = add_adapters(base, work)
    first = {t.person: t.adapter for t in train_many(base, work, LORA, config, engine, kind=GATES)}
    some = data.draw(st.permutations(work))[: data.draw(st.integers(1, len(work)))]
    for trained in train_many(base, some, LORA, config, data.draw(engine_configs), kind=GATES):
        assert max_distance(trained.adapter, first[trained.person]) <= EXACT


@settings(max_examples=30)
@given(work=draw_jobs(), config=configs, engine=engine_configs, seed=st.integers(0, 10**6))
def test_train_many_gates_equals_reference_with_shared_prefix(
    base: Base, work: tuple[TrainingJob, ...], config: TrainConfig, engine: EngineConfig, seed: int
) -> None:
    instruction = tuple(random.Random(seed).sample(range(TOKENS), 25))
    prefixed = tuple(
        replace(
            job,
            examples=tuple(
                Example(instruction + e.ids, e.answer_start + len(instruction), e.label_counts)
                for e in job.examples
            ),
        )
        for job in add_adapters(base, work)
    )
    for job, ours in zip(
        prefixed, train_many(base, prefixed, LORA, config, engine, kind=GATES), strict=True
    ):
        assert max_distance(ours.adapter, train_gates_of_one(base, job, config).adapter) <= EXACT


def test_train_many_gates_runs_shared_prefix_once(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ensures that the test above exercises shared prefixes."""
    seen: list[SharedPrefixes] = []
    run = SharedPrefixes.run_prefixes

    def record_call(self: SharedPrefixes, *args: Any, **options: Any) -> Any:
        seen.append(self)
        return run(self, *args, **options)

    monkeypatch.setattr(SharedPrefixes, "run_prefixes", record_call)
    examples = tuple(Example((*range(12), 20 + n, 30, 31), 13) for n in range(4))
    work = add_adapters(
        base, tuple(TrainingJob(person=p, examples=examples) for p in ("one", "other"))
    )
    train_many(base, work, LORA, TrainConfig(steps=1), kind=GATES)
    assert [heads.ids for heads in seen] == [(tuple(range(12)),) * 2]


def test_attach_gated_lora_gradients_equal_central_differences(base: Base) -> None:
    """Central differences, at gates of zero and at random gates."""
    (job,) = add_adapters(base, make_jobs(1), KINDS[1])
    assert job.initial_adapter is not None
    adapter = require_lora(job.initial_adapter)
    batch = collate(job.examples, pad=base.pad_token_id, device=base.device)

    def loss(gates: dict[str, Tensor]) -> Tensor:
        with attach_gated_lora(base, adapter, gates):
            return compute_target_nll(base.model, batch).sum()

    generator = torch.Generator().manual_seed(0)

    def draw_gates(size: float) -> dict[str, Tensor]:
        return {
            path: size * torch.randn(a.shape[1], generator=generator, dtype=a.dtype)
            for path, (a, _) in adapter.pairs.items()
        }

    for size in (0.0, 0.3):
        gates, way = draw_gates(size), draw_gates(1e-4)
        leaves = {path: gate.clone().requires_grad_() for path, gate in gates.items()}
        loss(leaves).backward()
        slope = sum(float((leaves[path].grad * way[path]).sum()) for path in gates)  # type: ignore[operator]
        there, back = (
            float(loss({path: gate + sign * way[path] for path, gate in gates.items()}))
            for sign in (1, -1)
        )
        assert (there - back) / 2 == pytest.approx(slope, rel=1e-5)


CONFIG = GatesConfig(steps=6, rate=0.02, batch=2)
Shared = list[tuple[str, LoraAdapter, tuple[Example, ...]]]


def make_sharers(base: Base, lora: LoraConfig = LORA) -> Shared:
    return [
        (j.person, require_lora(j.initial_adapter), j.examples)
        for j in add_adapters(base, make_jobs(4), lora)
        if j.initial_adapter
    ]


def test_train_gates_lowers_loss_and_keeps_adapters_and_base(base: Base) -> None:
    shared = make_sharers(base)
    hashes = [adapter.content_hash() for _, adapter, _ in shared]
    weights = {name: w.clone() for name, w in base.model.state_dict().items()}
    trained = train_gates(base, shared, replace(CONFIG, steps=40, batch=16))
    assert [t.person for t in trained] == [person for person, _, _ in shared]
    for one in trained:
        assert one.steps == 40 and one.last_loss < one.first_loss
        assert one.adapter.check_matches_base(base, LORA) is one.adapter
    assert [adapter.content_hash() for _, adapter, _ in shared] == hashes
    for name, weight in base.model.state_dict().items():
        assert torch.equal(weight, weights[name])
    assert not any(m._forward_hooks for m in base.model.modules())


def test_train_gates_settings_equal_reference(base: Base) -> None:
    """Also for the settings that are fixed: there is no weight decay."""
    (person, adapter, examples), *_ = shared = make_sharers(base)
    (ours, *_) = train_gates(base, shared, replace(CONFIG, clip=0.1, warmup=0.5, seed=3))
    config = TrainConfig(
        steps=6, rate=0.02, batch=2, clip=0.1, warmup=0.5, seed=3, weight_decay=0.0
    )
    job = TrainingJob(person=person, examples=examples, initial_adapter=adapter)
    assert max_distance(ours.adapter, train_gates_of_one(base, job, config).adapter) <= EXACT


def test_train_gates_does_not_depend_on_other_sharers(base: Base) -> None:
    shared = make_sharers(base)
    others = [(p, make_adapter(base, LORA, seed=77), e[::-1]) for p, _, e in shared[1:]]
    one, other = (train_gates(base, some, CONFIG)[0] for some in (shared, [shared[0], *others]))
    assert max_distance(one.adapter, other.adapter) <= EXACT


def test_train_gates_differ_between_sharers(base: Base) -> None:
    first, second, *_ = train_gates(base, make_sharers(base), CONFIG)
    assert max_distance(first.adapter, second.adapter) > 0.1


@pytest.mark.parametrize("change", [{"steps": 7}, {"rate": 0.01}, {"seed": 1}, {"batch": 3}])
def test_gates_config_settings_change_result(base: Base, change: dict[str, Any]) -> None:
    shared = make_sharers(base)[3:]
    ours, other = (train_gates(base, shared, c)[0] for c in (CONFIG, replace(CONFIG, **change)))
    assert not is_bitwise_equal(ours.adapter, other.adapter)


def test_train_gates_ignores_engine_layout(base: Base) -> None:
    rows, packed = (
        train_gates(base, make_sharers(base), CONFIG, EngineConfig(layout=layout))
        for layout in ("rows", "packed")
    )
    assert all(is_bitwise_equal(a.adapter, b.adapter) for a, b in zip(rows, packed, strict=True))


def test_train_gates_ignores_adapter_dropout(base: Base) -> None:
    plain, dropped = make_sharers(base), make_sharers(base, replace(LORA, dropout=0.5))
    for ours, theirs in zip(
        train_gates(base, plain, CONFIG), train_gates(base, dropped, CONFIG), strict=True
    ):
        assert is_bitwise_equal(ours.adapter, theirs.adapter)


class Crash(Exception):  # noqa: N818
    """Interrupts a run from outside."""


@pytest.mark.parametrize("lora", [KINDS[0], KINDS[4]], ids=["all", "answers, last layer"])
@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("kind", [Metrics, Progress])
def test_train_gates_resumes_to_same_bits(
    base32: Base, lora: LoraConfig, at: int, kind: type[Event], tmp_path: Path
) -> None:
    """Two slots, so that sharers in training, finished and waiting all have frozen adapters."""
    shared, engine = make_sharers(base32, lora), EngineConfig(slots=2, checkpoint_seconds=0)
    whole = train_gates(base32, shared, CONFIG, engine)
    path, heard = tmp_path / "checkpoint", list[int]()

    def listener(event: Event, /) -> None:
        if isinstance(event, Metrics):
            heard.append(int(event.values["step"]))
        if heard[-1:] == [at] and isinstance(event, kind):
            raise Crash

    with suppress(Crash):
        train_gates(base32, shared, CONFIG, engine, checkpoint=path, listener=listener)
    assert heard == list(range(1, at + 1))
    again = train_gates(
        base32,
        shared,
        CONFIG,
        replace(engine, slots=3) if path.exists() else engine,
        checkpoint=path,
        listener=lambda e: heard.append(int(e.values["step"])) if isinstance(e, Metrics) else None,
    )
    assert len(heard) - len(set(heard)) <= 1 and max(heard) == 12
    for ours, expected in zip(again, whole, strict=True):
        assert is_bitwise_equal(ours.adapter, expected.adapter)
        assert replace(ours, adapter=expected.adapter) == expected


def test_train_many_gates_ignores_checkpoint_of_adapters(base: Base, tmp_path: Path) -> None:
    work = add_adapters(base, make_jobs(2))
    path, engine = tmp_path / "c", EngineConfig(checkpoint_seconds=0)
    config = TrainConfig(steps=2)
    train_many(base, work, LORA, config, engine, checkpoint=path)
    ours = train_many(base, work, LORA, config, engine, checkpoint=path, kind=GATES)
    fresh = train_many(base, work, LORA, config, engine, kind=GATES)
    for one, expected in zip(ours, fresh, strict=True):
        assert is_bitwise_equal(one.adapter, expected.adapter)


def test_train_gates_progress_adds_up_with_partial_epochs(base: Base) -> None:
    heard: list[Event] = []
    shared = make_sharers(base)
    train_gates(base, shared, replace(CONFIG, steps=5), listener=heard.append)
    bars = [e for e in heard if isinstance(e, Progress)]
    assert (bars[0].done, bars[-1].done) == (0, bars[-1].total)
    assert [e.done for e in bars] == sorted(e.done for e in bars)
    # 5, 7, 9 and 11 items in batches of 2: only the first's epoch, of 3 batches, ends within.
    assert bars[-1].total == (5 + 4) + (7 + 2) + 9 + 10


def test_train_gates_rejects_adapter_without_effect(base: Base) -> None:
    shared = make_sharers(base)
    person, adapter, examples = shared[2]
    path = list(adapter.pairs)[1]
    a, b = adapter.pairs[path]
    empty = replace(adapter, pairs={**adapter.pairs, path: (a, torch.zeros_like(b))})
    shared[2] = (person, empty, examples)
    with pytest.raises(TrainingError, match=r"sharer 'p2'.*same value in all entries, 0") as raised:
        train_gates(base, shared, CONFIG)
    assert path in str(raised.value)


def test_train_gates_names_sharer_with_non_finite_loss(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = make_sharers(base)
    person, adapter, examples = shared[1]
    huge = {path: (a * 1e200, b * 1e200) for path, (a, b) in adapter.pairs.items()}
    shared[1] = (person, replace(adapter, pairs=huge), examples)
    with pytest.raises(IntegrityError, match=r"sharer 'p1': adapter .* times as large"):
        train_gates(base, shared, CONFIG)
    # An adapter that no check refuses is found by its loss.
    monkeypatch.setattr(update_norm, "MAX_NORM_RATIO", math.inf)
    with pytest.raises(TrainingError, match="'p1'"):
        train_gates(base, shared, CONFIG)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda p, a, e: (p, a, ()), UsageError, "no usable item"),
        (lambda p, a, e: (p, replace(a, base="f" * 64), e), MismatchError, "made for base fff"),
        (
            lambda p, a, e: (p, replace(a, config=replace(a.config, alpha=1.0)), e),
            MismatchError,
            "alpha 1",
        ),
        (
            lambda p, a, e: (
                p,
                replace(a, pairs={k: (v[0], v[1] * float("nan")) for k, v in a.pairs.items()}),
                e,
            ),
            IntegrityError,
            "not finite",
        ),
    ],
    ids=["no items", "base", "kind", "nan"],
)
def test_train_gates_names_invalid_sharer(
    base: Base, change: Any, error: type[Exception], match: str
) -> None:
    shared = make_sharers(base)
    shared[3] = change(*shared[3])
    with pytest.raises(error, match=rf"sharer 'p3'.*{match}"):
        train_gates(base, shared, CONFIG)


def test_train_gates_without_sharers_returns_nothing(base: Base) -> None:
    assert train_gates(base, [], CONFIG) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("rate", 0.0), ("clip", float("nan")), ("warmup", 1.0)],
)
def test_gates_config_rejects_invalid_values(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"gates\.{name}"):
        GatesConfig(**{name: value})


@pytest.mark.parametrize("batched", [True, False])
def test_train_gates_equals_reference_on_flat_targets(batched: bool) -> None:
    """Of modules that get the tokens of all rows in one list, and in single rows."""
    base = make_family_base("opt", dtype=torch.float64)
    base = replace(base, ways=replace(base.ways, batched=batched))
    jobs = add_adapters(base, make_alike_jobs(base), make_family_lora("opt"))
    config = GatesConfig(steps=3, batch=2)
    sharers: list[GateTrainingInput] = []
    for job in jobs:
        assert job.initial_adapter is not None
        sharers.append((job.person, require_lora(job.initial_adapter), job.examples))
    found = train_gates(base, sharers, config)
    for ours, job in zip(found, jobs, strict=True):
        alone = train_gates_of_one(base, job, config.train_config)
        assert max_distance(ours.adapter, alone.adapter) <= EXACT
