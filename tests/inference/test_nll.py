from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.inference import nll
from idiolect.inference.nll import compute_target_nll
from idiolect.models.logits import compute_logits
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from support.job_strategies import draw_example, make_exact_base

BASE = make_exact_base()


@settings(max_examples=30)
@given(rows=st.lists(draw_example(), min_size=1, max_size=5))
@torch.no_grad()
def test_compute_target_nll_equals_full_log_softmax(rows: list[Example]) -> None:
    """Compares with a forward of each row alone, without padding, over all positions."""
    found = compute_target_nll(BASE.model, collate(rows, pad=BASE.pad_token_id, device=BASE.device))
    expected: list[float] = []
    for example in rows:
        logits = BASE.model(input_ids=torch.tensor([example.ids])).logits[0]
        spread = -torch.log_softmax(logits, dim=-1)
        start, ids = example.answer_start, example.ids
        # All answers of a prompt share its first position.
        first = [token for token, _ in example.label_counts] or [ids[start]]
        expected += [float(spread[start - 1, token]) for token in first]
        expected += [float(spread[i - 1, ids[i]]) for i in range(start + 1, len(ids))]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_compute_target_nll_widens_half_precision() -> None:
    base = make_tiny_base(dtype=torch.bfloat16)
    with torch.no_grad():
        batch = collate([Example((5, 9, 33, 7), 2)], pad=base.pad_token_id, device=base.device)
        assert compute_target_nll(base.model, batch).dtype == torch.float32


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_nll_from_hidden_gradient_is_independent_of_chunk_size(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nll, "LOGIT_CHUNK_TOKENS", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(5, 32, dtype=torch.float64, requires_grad=True)
    label, weight = torch.tensor([3, 9, 3, 250, 0]), torch.rand(5, dtype=torch.float64)
    plain = torch.nn.functional.cross_entropy(
        compute_logits(BASE.model, hidden), label, reduction="none"
    )
    ours = nll.nll_from_hidden(BASE.model, hidden, label)
    assert torch.allclose(ours, plain, rtol=1e-12)
    (expected,) = torch.autograd.grad((plain * weight).sum(), hidden)
    (found,) = torch.autograd.grad((ours * weight).sum(), hidden)
    assert torch.allclose(found, expected, rtol=1e-11)
    with torch.no_grad():
        assert torch.equal(nll.nll_from_hidden(BASE.model, hidden, label), ours)
