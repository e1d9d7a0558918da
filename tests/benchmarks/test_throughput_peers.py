"""Peers and rows of the throughput benchmark train the same adapters as the reference."""

from __future__ import annotations

import pytest
import torch

from idiolect.adapters.lora import LoraConfig
from idiolect.errors import UsageError
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.holdout_gate import compute_mean_losses
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from suites.throughput.bases import load_shape_or_base
from suites.throughput.counted import count_operations
from suites.throughput.ours import EngineMethod, EngineRow, apply_overrides
from suites.throughput.peers import IGNORE_INDEX, PEER_STYLES, TrainerPeer, make_collator
from suites.throughput.work import TrainingWork, make_random_work

# PEFT uses a name that transformers has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))
TRAIN = TrainConfig(rate=0.02, epochs=3, batch=8)


def make_work() -> TrainingWork:
    """Return three people with one batch each, so that the order of items does not matter."""
    made = make_random_work("w", people=3, items=6, tokens=20, words=200)
    jobs = tuple(
        TrainingJob(
            person=job.person,
            examples=tuple(drop_first_tokens(e, n) for n, e in enumerate(job.examples)),
        )
        for job in made.jobs
    )
    return TrainingWork(task="w", jobs=jobs, held_out=made.held_out)


def drop_first_tokens(example: Example, count: int) -> Example:
    """Return the example without its first ``count`` tokens, so that rows differ in length."""
    return Example(example.ids[count:], example.answer_start - count)


@pytest.mark.parametrize("name", sorted(PEER_STYLES))
def test_trainer_peer_trains_the_same_adapters_as_the_reference(name: str) -> None:
    peer = TrainerPeer(
        load_shape_or_base("tiny", "cpu"), ["p0", "p1", "p2"], LORA, TRAIN, PEER_STYLES[name]
    )
    assert peer.train_all(make_work()) > 0
    # The reference trains the same people on its own base.
    base = load_shape_or_base("tiny", "cpu")
    alone = {job.person: train_one(base, job, LORA, TRAIN).adapter for job in make_work().jobs}
    for person, adapter in alone.items():
        for path, (a, b) in adapter.pairs.items():
            found = peer.trained_weights[person]
            prefix = f"base_model.model.{path}.lora_"
            theirs = found[f"{prefix}B.default.weight"] @ found[f"{prefix}A.default.weight"]
            assert torch.linalg.norm(theirs - b @ a) <= 2e-3 * torch.linalg.norm(b @ a)
    # The losses agree as well, and differ from those without adapters.
    ours = compute_mean_losses(base, make_work().held_out, alone, forward_tokens=500)
    assert peer.compute_losses(make_work()) == pytest.approx(ours, rel=1e-4)
    assert compute_mean_losses(base, make_work().held_out, {}, forward_tokens=500) != pytest.approx(
        ours, rel=1e-3
    )


def test_trainer_peer_uses_fp32_and_recomputation_for_peer_a_only() -> None:
    for name, recomputes in (("peer-a", True), ("peer-b", False)):
        base = load_shape_or_base("tiny", "cpu")
        base.model.to(torch.bfloat16)
        peer = TrainerPeer(base, ["p0"], LORA, TRAIN, PEER_STYLES[name])
        assert peer.autocast
        assert base.model.is_activation_checkpointing is recomputes
        frozen = {p.dtype for p in peer.model.parameters() if not p.requires_grad}
        assert frozen == {torch.float32 if recomputes else torch.bfloat16}
        assert {p.dtype for p in peer._get_weights().values()} == {torch.float32}
        # A step changes the adapter also under autocast.
        peer.train_all(make_work().take_first_step(2))
        (trained,) = peer.trained_weights.values()
        assert all(t.abs().sum() > 0 for t in trained.values())


def test_collator_pads_rows_to_a_multiple_and_masks_padding() -> None:
    rows = [
        {"input_ids": [5, 6, 7], "labels": [IGNORE_INDEX, 6, 7]},
        {"input_ids": [8], "labels": [8]},
    ]
    for multiple, width in ((1, 3), (8, 8)):
        batch = make_collator(99, multiple)(rows)
        assert batch["input_ids"].tolist() == [
            [5, 6, 7] + [99] * (width - 3),
            [8] + [99] * (width - 1),
        ]
        assert batch["attention_mask"].sum(1).tolist() == [3, 1]
        assert batch["labels"][1].tolist() == [8] + [IGNORE_INDEX] * (width - 1)


def test_engine_method_applies_overrides_and_trains_like_the_reference() -> None:
    base = load_shape_or_base("tiny", "cpu")
    method = EngineMethod(base, EngineRow(name="x", what="", engine={"slots": 2}), LORA, TRAIN)
    assert method.engine == EngineConfig(slots=2)
    assert method.train_all(make_work()) > 0
    alone = {job.person: train_one(base, job, LORA, TRAIN).adapter for job in make_work().jobs}
    expected = compute_mean_losses(base, make_work().held_out, alone, forward_tokens=500)
    assert method.compute_losses(make_work()) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UsageError, match="unknown setting 'turbo'"):
        apply_overrides(EngineConfig(), {"turbo": True})


def test_count_operations_is_four_per_parameter_and_token() -> None:
    model = load_shape_or_base("tiny", "cpu").model
    attention = 32 * 32 * 2 + 32 * 16 * 2
    body = 2 * (attention + 3 * 32 * 64)
    assert count_operations(model, 10, 0) == 4 * 10 * body
    assert count_operations(model, 0, 3) == 4 * 3 * 32 * 300


def test_make_random_work_is_deterministic_and_survives_json() -> None:
    made = make_random_work("w", people=2, items=3, tokens=50, words=77)
    assert made == make_random_work("w", people=2, items=3, tokens=50, words=77)
    assert TrainingWork.from_plain(made.to_plain()) == made
    assert (made.token_count, made.target_count) == (300, 30)
    assert max(max(e.ids) for e in made.examples) < 77
