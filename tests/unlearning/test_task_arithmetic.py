from __future__ import annotations

from idiolect.unlearning.task_arithmetic import merge_delta
from support.random_adapters import (
    compute_adapter_logits,
    compute_logits,
    make_token_ids,
    random_adapter,
)
from support.random_bases import make_random_base


def test_merge_delta_adds_updates_to_transposed_weights() -> None:
    base = make_random_base("gpt2")
    delta, ids = random_adapter(base), make_token_ids(base)
    merged = compute_logits(merge_delta(base, delta, 1.0).model, ids)
    assert (merged - compute_adapter_logits(base, delta, ids)).abs().max() <= 1e-4
    assert (merged - compute_logits(base.model, ids)).abs().max() > 0.01
