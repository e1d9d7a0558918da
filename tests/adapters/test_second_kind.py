"""A kind of adapter that only tests define passes through every package: engine, checkpoint, store,
audit, serving and erasure. None of these packages knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect import api
from idiolect.adapters.erasure import CopiedAdapterErasure, ExportErasure
from idiolect.adapters.formats.exchange import import_adapter
from idiolect.adapters.formats.peft import PEFT_FORMATS
from idiolect.adapters.kinds import KINDS, init_adapter, stack_adapters
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.signatures import byte_signatures
from idiolect.adapters.store.source import get_usable_adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore, load_adapters
from idiolect.audit.attacks import audit_artifacts
from idiolect.audit.subject import AuditSubject
from idiolect.config import to_plain
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Event, Metrics
from idiolect.history.write import write_dataset
from idiolect.inference.generator import Generator
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.privacy.erasure import ErasureRequest
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.prompts.batch import collate
from idiolect.storage.files import read_json
from idiolect.storage.manifest import Manifest
from idiolect.training.engine.checkpoint import fingerprint_jobs
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches
from support.job_strategies import bitwise_equal, make_jobs
from support.tiny_people import (
    LORA,
    RATING,
    UNGATED,
    make_rater,
    random_adapter,
    save_tiny_base,
    to_tensor_bytes,
)
from support.toy_adapter import BIAS, BIAS_FORMAT, BiasAdapter, BiasConfig

CONFIG = BiasConfig()
TRAIN = TrainConfig(batch=8, epochs=6, rate=0.05)
SHORT_TRAIN = TrainConfig(batch=2, epochs=2, rate=0.02)
ENGINE = EngineConfig(slots=2, checkpoint_seconds=0.0)
ANN, BOB = "ann", "bob"
JOBS = tuple(
    replace(job, person=person) for job, person in zip(make_jobs(2), (ANN, BOB), strict=True)
)


@pytest.fixture(autouse=True)
def register_bias_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, BiasConfig.kind, BIAS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return save_tiny_base(tmp_path_factory.mktemp("second-kind") / "base")


@pytest.fixture
def trained_adapters(base: Base) -> dict[str, Adapter]:
    done = train_many(base, JOBS, CONFIG, TRAIN, ENGINE)
    assert all(one.last_loss < one.first_loss for one in done)
    return {one.person: one.adapter for one in done}


@pytest.fixture
def store(base: Base, trained_adapters: dict[str, Adapter], tmp_path: Path) -> AdapterStore:
    new_store = AdapterStore.create(
        tmp_path / "store",
        base,
        source=str(base.folder),
        task=RATING.name,
        config=CONFIG,
        settings=to_plain(UNGATED),
    )
    with new_store.lock_for_writing():
        new_store.add(
            [
                (AdapterRecord(person=p, served="adapter", made_by="x"), a)
                for p, a in trained_adapters.items()
            ]
        )
    return AdapterStore.open(new_store.folder)


def train_alone(base: Base, job: TrainingJob) -> dict[str, torch.Tensor]:
    """Train one person's biases with torch's AdamW in a simple loop."""
    # Start from the same biases, added by plain hooks.
    start = init_adapter(base, CONFIG, seed=SHORT_TRAIN.seed, person=job.person).tensors()
    paths = {name.removesuffix(".bias"): tensor.requires_grad_() for name, tensor in start.items()}
    optimizer = torch.optim.AdamW(
        paths.values(),
        betas=(SHORT_TRAIN.beta1, SHORT_TRAIN.beta2),
        eps=SHORT_TRAIN.epsilon,
        weight_decay=SHORT_TRAIN.weight_decay,
    )
    handles = [
        base.model.get_submodule(path).register_forward_hook(lambda m, i, out, b=bias: out + b)
        for path, bias in paths.items()
    ]
    # The same batches, learning rates and clipping as the engine.
    plan = plan_batches(len(job.examples), SHORT_TRAIN, job.person)
    for step, numbers in enumerate(plan):
        optimizer.param_groups[0]["lr"] = compute_learning_rate(step, len(plan), SHORT_TRAIN)
        batch = collate(
            [job.examples[n] for n in numbers], pad=base.pad_token_id, device=base.device
        )
        loss = (compute_target_nll(base.model, batch) * batch.count).sum() / batch.count.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(paths.values(), SHORT_TRAIN.clip)
        optimizer.step()
    for handle in handles:
        handle.remove()
    return {f"{path}.bias": bias.detach() for path, bias in paths.items()}


def test_train_many_with_second_kind_equals_simple_loop(base: Base) -> None:
    for job, done in zip(JOBS, train_many(base, JOBS, CONFIG, SHORT_TRAIN, ENGINE), strict=True):
        ours, expected = done.adapter.tensors(), train_alone(base, job)
        assert set(ours) == set(expected)
        for name, tensor in expected.items():
            assert tensor.any()
            assert float((ours[name] - tensor).norm() / tensor.norm()) <= 1e-4


def test_train_many_pads_kinds_that_do_not_pack(base: Base) -> None:
    # Asking for the packed layout falls back to padded rows.
    packed = train_many(base, JOBS, CONFIG, TRAIN, replace(ENGINE, layout="packed"))
    padded = train_many(base, JOBS, CONFIG, TRAIN, ENGINE)
    assert all(bitwise_equal(a.adapter, b.adapter) for a, b in zip(packed, padded, strict=True))


class Crash(Exception):  # noqa: N818
    """Interrupts the run."""


def test_train_many_with_second_kind_resumes_bitwise(
    base: Base, trained_adapters: dict[str, Adapter], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"

    def crash(event: Event) -> None:
        if isinstance(event, Metrics) and event.values["step"] == 3:
            raise Crash

    with pytest.raises(Crash):
        train_many(base, JOBS, CONFIG, TRAIN, ENGINE, checkpoint=path, listener=crash)
    assert path.is_file()
    events: list[Event] = []
    # The second run starts from the checkpoint, not from step 1.
    again = train_many(base, JOBS, CONFIG, TRAIN, ENGINE, checkpoint=path, listener=events.append)
    steps = [int(event.values["step"]) for event in events if isinstance(event, Metrics)]
    assert steps and min(steps) > 1
    assert all(bitwise_equal(one.adapter, trained_adapters[one.person]) for one in again)


def test_train_many_ignores_checkpoint_of_other_kind(base: Base, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    train_many(base, JOBS, LORA, TRAIN, ENGINE, checkpoint=path)
    ours = train_many(base, JOBS, CONFIG, TRAIN, ENGINE, checkpoint=path)
    assert all(isinstance(one.adapter, BiasAdapter) for one in ours)


class TwinConfig(BiasConfig):
    """Another kind with the same settings."""

    kind = "twin"


def test_fingerprint_jobs_differs_between_kinds() -> None:
    found = {fingerprint_jobs("b", JOBS, config, TRAIN) for config in (BiasConfig(), TwinConfig())}
    assert len(found) == 2


def test_adapter_store_round_trips_second_kind(
    base: Base, store: AdapterStore, trained_adapters: dict[str, Adapter]
) -> None:
    assert store.adapter_config == CONFIG
    head = read_json(store.folder / "store.json")
    assert (head["kind"], head["bias"]) == ("bias", to_plain(CONFIG)) and "lora" not in head
    for person, adapter in trained_adapters.items():
        found = store.get_adapter(person)
        assert isinstance(found, BiasAdapter) and found.check_matches_base(base, CONFIG) is found
        assert to_tensor_bytes(found) == to_tensor_bytes(adapter)
        assert found.content_hash() == adapter.content_hash()


def test_adapter_store_header_of_lora_has_no_kind(base: Base, tmp_path: Path) -> None:
    """Stores from before there were kinds stay byte-identical."""
    store = AdapterStore.create(
        tmp_path / "s", base, source="x", task="rating", config=LORA, settings={}
    )
    head = read_json(store.folder / "store.json")
    assert "kind" not in head and head["lora"] == to_plain(LORA)
    assert AdapterStore.open(store.folder).adapter_config == LORA


def test_store_and_stack_reject_other_kind(base: Base, store: AdapterStore) -> None:
    with pytest.raises(MismatchError, match="holds adapters with"):
        store.check_compatible(base=base.identity, config=LORA)
    with pytest.raises(MismatchError, match="expected a bias"):
        random_adapter(base, 0).check_matches_base(base, CONFIG)
    stack = stack_adapters(base, [random_adapter(base, 0)])
    before = stack.weights.clone()
    with pytest.raises(MismatchError):
        stack.load_slot(0, init_adapter(base, CONFIG, seed=0, person=ANN))
    assert torch.equal(stack.weights, before)
    with pytest.raises(UsageError, match="no linear module"):
        AdapterStore.create(
            store.folder.with_name("other"),
            base,
            source="x",
            task="t",
            config=BiasConfig(targets=("missing",)),
            settings={},
        )


def test_adapter_store_open_rejects_unknown_kind(
    store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(KINDS, BiasConfig.kind)
    with pytest.raises(MismatchError, match="kind 'bias'"):
        AdapterStore.open(store.folder)


def test_generator_with_second_kind_equals_each_person_alone(
    base: Base, store: AdapterStore
) -> None:
    adapters = load_adapters(store, store.people)
    requests = [(p, job.examples[0]) for job in JOBS for p in (ANN, "stranger", BOB)]
    together = Generator(base, adapters).compute_likelihoods(requests)
    for (person, example), found in zip(requests, together, strict=True):
        own = {person: adapters[person]} if person in adapters else {}
        (alone,) = Generator(base, own).compute_likelihoods([(person, example)])
        assert found.nll == pytest.approx(alone.nll, rel=1e-5)
    assert len({round(one.nll, 4) for one in together[:3]}) == 3
    prompt = JOBS[0].examples[0].ids[:5]
    texts = Generator(base, adapters).generate_greedy([(ANN, prompt), (BOB, prompt)], max_tokens=3)
    assert texts == [
        Generator(base, {p: adapters[p]}).generate_greedy([(p, prompt)], max_tokens=3)[0]
        for p in (ANN, BOB)
    ]


def test_audit_artifacts_supports_second_kind(base: Base, store: AdapterStore) -> None:
    strangers = make_jobs(1, items=9)[0].examples
    subjects = [
        AuditSubject(person=job.person, members=job.examples, non_members=strangers) for job in JOBS
    ]
    adapters = {person: store.get_adapter(person) for person in store.people}
    none = dict.fromkeys(store.people)
    found = audit_artifacts(base, subjects, {"adapters": adapters, "base": none})
    for person in (ANN, BOB):
        ours, bare = found["adapters"][person].membership, found["base"][person].membership
        assert ours.loss_in is not None and ours.base_in is not None
        assert ours.loss_in < ours.base_in == bare.loss_in
        assert ours.calibrated is not None and ours.calibrated.two_sided > 0.5


def test_predict_and_forget_support_second_kind(
    base: Base, store: AdapterStore, tmp_path: Path
) -> None:
    """Bob's bytes stay; Ann's row and a copy of it under another name are removed."""
    ann_adapter, bob_bytes = store.get_adapter(ANN), to_tensor_bytes(store.get_adapter(BOB))
    assert ann_adapter is not None
    with store.lock_for_writing():
        store.add(
            [(AdapterRecord(person="copy", served="adapter", made_by="imported"), ann_adapter)]
        )
    # Serve before the erasure.
    question = "Film 3 (1990), Drama"
    request = api.PredictRequest(store=store.folder, person=ANN, text=question)
    assert api.predict(request).served_by == "adapter"
    histories = [make_rater(ANN, 6), make_rater(BOB, 6, seed=1)]
    write_dataset(tmp_path / "data", histories, task=RATING.name, source="films")
    # The signatures of both people must differ, otherwise the search below shows nothing.
    traces = byte_signatures(ann_adapter)
    assert traces and not traces & byte_signatures(load_adapters(store, [BOB])[BOB])
    done = api.forget(
        api.ForgetRequest(data=tmp_path / "data", adapters=store.folder, person=ANN, verify=True)
    )
    assert (done.left, done.verified) == ((), True)
    # Bob is unchanged, and no file holds Ann's numbers.
    remaining = AdapterStore.open(store.folder)
    assert (
        remaining.get_record(ANN) is None
        and to_tensor_bytes(remaining.get_adapter(BOB)) == bob_bytes
    )
    files = [path.read_bytes() for path in store.folder.rglob("*") if path.is_file()]
    assert not any(trace in raw for trace in traces for raw in files)
    # The copy is withdrawn, and Ann is unknown.
    with pytest.raises(MismatchError, match="withdrawn"):
        get_usable_adapter(remaining, "copy")
    with pytest.raises(MissingError, match="no person named"):
        api.predict(request)


def test_export_rejects_kind_without_peft_format(store: AdapterStore, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="'bias' cannot be exported"):
        api.export(api.ExportRequest(store=store.folder, person=ANN, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_export_and_import_support_kind_with_peft_format(
    store: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEFT_FORMATS, BiasConfig.kind, BIAS_FORMAT)
    out = tmp_path / "out"
    api.export(api.ExportRequest(store=store.folder, person=ANN, out=out))
    assert Manifest.load(out, "adapter").config["bias"] == to_plain(CONFIG)
    import_adapter(out, store.folder, "other")
    found = AdapterStore.open(store.folder)
    assert to_tensor_bytes(found.get_adapter("other")) == to_tensor_bytes(store.get_adapter(ANN))
    ann_adapter = store.get_adapter(ANN)
    assert ann_adapter is not None
    request = ErasureRequest(
        person=ANN, task=RATING.name, patterns=SearchPatterns(tensors=byte_signatures(ann_adapter))
    )
    assert ExportErasure().find(out, request) and CopiedAdapterErasure().find(store.folder, request)
