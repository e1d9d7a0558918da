"""The custom attention equals transformers' eager attention, whole and in two parts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from idiolect.errors import MismatchError
from idiolect.models.attention import attend_grouped

MODULE = SimpleNamespace(layer_idx=3, num_key_value_groups=2, training=False)


def make_inputs(seed: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [2, 4, T, 8], keys and values [2, 2, T, 8]."""
    g = torch.Generator().manual_seed(seed)
    sizes = ((2, 4, tokens, 8), (2, 2, tokens, 8), (2, 2, tokens, 8))
    query, key, value = (torch.randn(s, generator=g, dtype=torch.float64) for s in sizes)
    return query, key, value


def make_causal_mask(tokens: int) -> Tensor:
    mask = torch.full((tokens, tokens), -1e30, dtype=torch.float64).triu(1)
    return mask.expand(2, 1, tokens, tokens)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999),
    before=st.integers(1, 4),
    own=st.integers(1, 4),
    softcap=st.sampled_from([None, 0.7]),
)
def test_attend_grouped_equals_eager_attention_whole_and_in_parts(
    seed: int, before: int, own: int, softcap: float | None
) -> None:
    query, key, value = make_inputs(seed, before + own)
    mask = make_causal_mask(before + own)
    eager, _ = eager_attention_forward(
        MODULE,  # type: ignore[arg-type]
        query,
        key,
        value,
        mask,
        scaling=0.3,
        softcap=softcap,
    )
    options = {"scaling": 0.3, "softcap": softcap}
    # All tokens at once, then the later ones with the earlier ones in front.
    whole, _ = attend_grouped(MODULE, query, key, value, mask, **options)  # type: ignore[arg-type]
    partial, _ = attend_grouped(
        MODULE,
        query[:, :, before:],
        key[:, :, before:],
        value[:, :, before:],
        mask[:, :, before:],
        front={3: (key[:, :, :before], value[:, :, :before])},
        **options,  # type: ignore[arg-type]
    )
    # The softmax of eager attention is in fp32.
    assert torch.allclose(whole, eager, atol=1e-6)
    assert torch.allclose(partial, whole[:, before:], atol=1e-12)


def test_attend_grouped_rejects_unknown_tensors() -> None:
    query, key, value = make_inputs(0, 3)
    with pytest.raises(MismatchError, match="s_aux"):
        attend_grouped(MODULE, query, key, value, None, scaling=1.0, s_aux=torch.zeros(4))


def test_attend_grouped_supports_narrow_values_and_gives_rows() -> None:
    """DeepSeek's values are narrower than its queries; JetMoE views the output as rows."""
    query, key, value = make_inputs(0, 5)
    mask = make_causal_mask(5)
    whole, _ = attend_grouped(MODULE, query, key, value, mask, scaling=0.25)
    narrow, _ = attend_grouped(MODULE, query, key, value[..., :6], mask, scaling=0.25)
    assert torch.allclose(narrow, whole[..., :6])
    assert narrow.view(2, 5, 4 * 6).shape == (2, 5, 24)
