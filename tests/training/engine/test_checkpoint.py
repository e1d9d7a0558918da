"""Invariant 5: a run killed at any point resumes, and ends with the same adapters."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import random
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.lora import init_lora
from idiolect.errors import IntegrityError
from idiolect.events import Event, Listener, Metrics, Progress
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.checkpoint import Checkpoint, SavedSlotState, fingerprint_jobs
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob, TrainingResult
from support.job_strategies import LORA, bitwise_equal, make_jobs
from support.killed_training import CONFIG, ENGINE, LONG, WORK, serialize_adapters, train_and_save

DROPOUT = replace(LORA, dropout=0.2)


class Crash(Exception):  # noqa: N818
    """Stops a run from outside."""


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def uninterrupted_results(base: Base) -> tuple[TrainingResult, ...]:
    return train_many(base, WORK, DROPOUT, CONFIG, ENGINE)


def list_steps(events: list[Event]) -> list[int]:
    """Return the step numbers of metrics events."""
    return [int(e.values["step"]) for e in events if isinstance(e, Metrics)]


@settings(max_examples=12)
@given(
    crashes=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(sorted),
    kind=st.sampled_from([Metrics, Progress]),
    slots=st.integers(1, 5),
)
def test_train_many_resumes_after_crash_with_same_bits(
    base: Base,
    uninterrupted_results: tuple[TrainingResult, ...],
    crashes: list[int],
    kind: type[Event],
    slots: int,
) -> None:
    """Also if the next call has another number of slots: the checkpoint's number is used."""
    heard: list[Event] = []
    done: tuple[TrainingResult, ...] = ()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        # The last run is not stopped, so it finishes.
        for at in [*crashes, None]:
            engine = replace(ENGINE, slots=slots) if path.exists() else ENGINE
            listener = _crash_at(at, kind, heard)
            with suppress(Crash):
                done = train_many(
                    base, WORK, DROPOUT, CONFIG, engine, checkpoint=path, listener=listener
                )
    for ours, expected in zip(done, uninterrupted_results, strict=True):
        assert bitwise_equal(ours.adapter, expected.adapter)
        assert replace(ours, adapter=expected.adapter) == expected
    # At most one step is repeated per crash, and none is skipped.
    steps = list_steps(heard)
    repeated = len(steps) - len(set(steps))
    assert repeated <= len(crashes)  # at most the interrupted step
    assert sorted(set(steps)) == list(range(1, max(steps) + 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at", [2, 5, 9])
def test_train_many_restores_activation_cache_to_the_bit(
    dtype: torch.dtype, at: int, tmp_path: Path
) -> None:
    """The rounding of cached activations depends on their batch; a resumed run must repeat it."""
    base = make_tiny_base(dtype=dtype)
    call = encode_invocation(base.tokenizer)
    draw = random.Random(0)

    def make_example(length: int, answer: int) -> Example:
        prompt = tuple(draw.choices(range(200), k=length))
        return Example((*prompt, *call, answer, 9), length + len(call))

    examples = [make_example(draw.randint(3, 40), 20 + n % 5) for n in range(20)]
    # Five people who share examples, so that the cache is used by several of them.
    work = [
        TrainingJob(person=f"p{n}", examples=tuple(draw.sample(examples, 4 + 2 * n)))
        for n in range(5)
    ]
    lora = replace(LORA, active="answer", top_layers=1)
    # One whole run; one run that crashes and resumes.
    path = tmp_path / "checkpoint"
    whole = train_many(base, work, lora, CONFIG, ENGINE)
    with suppress(Crash):
        listener = _crash_at(at, Progress, [])
        train_many(base, work, lora, CONFIG, ENGINE, checkpoint=path, listener=listener)
    assert path.exists()
    again = train_many(base, work, lora, CONFIG, ENGINE, checkpoint=path)
    for ours, expected in zip(again, whole, strict=True):
        assert bitwise_equal(ours.adapter, expected.adapter)


def _crash_at(step: int | None, kind: type[Event], heard: list[Event]) -> Listener:
    """Return a listener that records events and stops the run at this step, at an event of the
    kind."""

    def listener(event: Event, /) -> None:
        heard.append(event)
        now = list_steps(heard)[-1:]
        if step is not None and now >= [step] and isinstance(event, kind):
            raise Crash

    return listener


def test_train_many_of_finished_checkpoint_takes_no_step(
    base: Base, uninterrupted_results: tuple[TrainingResult, ...], tmp_path: Path
) -> None:
    path, heard = tmp_path / "c", list[Event]()
    train_many(base, WORK, DROPOUT, CONFIG, ENGINE, checkpoint=path)
    again = train_many(base, WORK, DROPOUT, CONFIG, ENGINE, checkpoint=path, listener=heard.append)
    assert list_steps(heard) == []
    assert all(
        bitwise_equal(a.adapter, b.adapter)
        for a, b in zip(again, uninterrupted_results, strict=True)
    )


def test_train_many_resumes_after_sigkill_with_same_bytes(base: Base, tmp_path: Path) -> None:
    """``kill -9``, four times, during steps and during writes of the checkpoint."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.training", "idiolect.models.tiny"])
    checkpoint, out = tmp_path / "checkpoint", tmp_path / "adapters"
    moments = random.Random(0)
    # Kill four runs, each a few checkpoints after its start, at a random moment in between.
    for _ in range(4):
        child = processes.Process(target=train_and_save, args=(str(checkpoint), str(out)))
        child.start()
        for _ in range(moments.randint(1, 4)):
            _wait_for_new_file(checkpoint, child)
        time.sleep(moments.random() * 0.02)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL and not out.exists()
    child = processes.Process(target=train_and_save, args=(str(checkpoint), str(out)))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert out.read_bytes() == serialize_adapters(train_many(base, WORK, LORA, LONG, ENGINE))


def _wait_for_new_file(checkpoint: Path, child: multiprocessing.process.BaseProcess) -> None:
    """Wait until the checkpoint is another file than now."""
    seen = _stat_file(checkpoint)
    while child.is_alive() and _stat_file(checkpoint) == seen:
        time.sleep(0.0005)


def _stat_file(file: Path) -> tuple[int, int] | None:
    """Return inode and modification time of a file; ``None`` if it does not exist."""
    if not file.exists():
        return None
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.fixture(scope="module")
def saved_checkpoint(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "checkpoint"
    train_many(base, WORK, LORA, CONFIG, ENGINE, checkpoint=path)
    return path


@given(data=st.data())
def test_checkpoint_load_refuses_damaged_file(
    base: Base, saved_checkpoint: Path, data: st.DataObject
) -> None:
    raw = bytearray(saved_checkpoint.read_bytes())
    # Flip a byte or cut the file, in the header more often than by chance.
    at = data.draw(st.one_of(st.integers(0, 2000), st.integers(0, len(raw) - 1)))
    if data.draw(st.booleans()):
        raw[at] ^= data.draw(st.integers(1, 255))
    else:
        del raw[at:]
    damaged = saved_checkpoint.with_name("damaged")
    damaged.write_bytes(raw)
    with pytest.raises(IntegrityError, match="damaged"):
        train_many(base, WORK, LORA, CONFIG, ENGINE, checkpoint=damaged)
    assert damaged.read_bytes() == raw  # the file is left for inspection


def test_train_many_ignores_checkpoint_of_other_work(
    base: Base, saved_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    path.write_bytes(saved_checkpoint.read_bytes())
    other, heard = replace(CONFIG, seed=1), list[Event]()
    ours = train_many(base, WORK, LORA, other, ENGINE, checkpoint=path, listener=heard.append)
    for trained, expected in zip(ours, train_many(base, WORK, LORA, other, ENGINE), strict=True):
        assert bitwise_equal(trained.adapter, expected.adapter)
    assert list_steps(heard)[0] == 1


def test_fingerprint_jobs_depends_on_all_inputs(base: Base) -> None:
    (job, *_) = work = make_jobs()
    example = job.examples[0]
    start = init_lora(base, LORA, seed=3, person="x")
    longer = Example(example.ids, example.answer_start - 1)
    tallied = replace(example, label_counts=((example.ids[example.answer_start], 2),))
    others: list[tuple[TrainingJob, ...]] = [
        work[1:],
        work[::-1],
        (replace(job, person="someone"), *work[1:]),
        (replace(job, initial_adapter=start), *work[1:]),
        (replace(job, examples=job.examples[1:]), *work[1:]),
        (replace(job, examples=(tallied, *job.examples[1:])), *work[1:]),
        (replace(job, examples=(longer, *job.examples[1:])), *work[1:]),
    ]
    keys = [fingerprint_jobs(base.identity, jobs, LORA, CONFIG) for jobs in (work, *others)]
    keys.append(fingerprint_jobs("another base", work, LORA, CONFIG))
    keys.append(fingerprint_jobs(base.identity, work, replace(LORA, alpha=1.0), CONFIG))
    keys.append(fingerprint_jobs(base.identity, work, LORA, replace(CONFIG, rate=0.5)))
    assert len(set(keys)) == len(keys)
    assert keys[0] == fingerprint_jobs(base.identity, make_jobs(), LORA, CONFIG)


def test_checkpoint_load_returns_saved_state(tmp_path: Path) -> None:
    state = Checkpoint(
        fingerprint="f",
        slots=2,
        forward_tokens=4096,
        next_job=3,
        steps=9,
        step_counts=(4, 0),
        slot_states=(
            SavedSlotState(0, 2, 4, 77, 1.25, 0.1, 0.5, 1),
            SavedSlotState(-1, 0, 5, 60, float("inf"), 0.2, None, 0),
        ),
        request_log=((0, 3), (), (2,)),
        tensors={"weights": torch.randn(2, 5), "done.0": torch.randn(5)},
    )
    state.save(tmp_path / "c")
    found = Checkpoint.load(tmp_path / "c", "f")
    assert found is not None
    assert replace(found, tensors={}) == replace(state, tensors={})
    for name, tensor in state.tensors.items():
        assert torch.equal(found.tensors[name], tensor)
    assert Checkpoint.load(tmp_path / "c", "g") is None
    assert Checkpoint.load(tmp_path / "none", "f") is None
