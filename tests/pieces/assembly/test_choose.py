"""Choosing pieces from scores, compared with numpy and with values by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import UsageError
from idiolect.pieces.assembly.choose import choose_pieces, draw_gumbel_noise
from idiolect.pieces.recipes.config import AssembleConfig

ALL = torch.ones(5, dtype=torch.bool)
SCORES = torch.tensor([[0.5, 2.0, 1.0, 2.0, -1.0]])


def softmax(*scores: float) -> list[float]:
    powers = np.exp(np.array(scores))
    return (powers / powers.sum()).tolist()


def test_choose_pieces_weights_top_k_by_softmax() -> None:
    pick, weight = choose_pieces(SCORES, ALL, AssembleConfig(by="gates", top_k=3, temperature=0.5))
    assert pick.tolist() == [[1, 3, 2]]
    assert weight[0].tolist() == pytest.approx(softmax(4, 4, 2), rel=1e-12)


def test_choose_pieces_breaks_ties_by_order() -> None:
    nearly = SCORES.double() + torch.tensor([[0, 0, 0, 1e-9, 0]])
    for count in (1, 2):
        pick, _ = choose_pieces(nearly, ALL, AssembleConfig(by="gates", top_k=count))
        assert pick.tolist() == [[1, 3][:count]]
    pick, _ = choose_pieces(torch.ones(1, 5), ALL, AssembleConfig(by="gates", top_k=4))
    assert pick.tolist() == [[0, 1, 2, 3]]


def test_choose_pieces_skips_sharers_without_this_piece() -> None:
    some = torch.tensor([True, False, True, False, False])
    pick, weight = choose_pieces(SCORES, some, AssembleConfig(by="gates", top_k=3))
    assert pick.tolist() == [[2, 0, -1]]
    assert weight[0].tolist() == pytest.approx([*softmax(1, 0.5), 0], rel=1e-12)
    pick, weight = choose_pieces(
        SCORES, torch.zeros(5, dtype=torch.bool), AssembleConfig(by="gates", top_k=2)
    )
    assert pick.tolist() == [[-1, -1]] and weight.tolist() == [[0, 0]]


def test_choose_pieces_with_top_p_keeps_fewest_and_pads() -> None:
    scores = torch.log(
        torch.tensor([[0.1, 0.5, 0.2, 0.15, 0.05], [0.9, 0.025, 0.025, 0.025, 0.025]])
    )
    for top_p, found in ((0.5, [1]), (0.6, [1, 2]), (0.7, [1, 2]), (0.71, [1, 2, 3])):
        pick, weight = choose_pieces(scores, ALL, AssembleConfig(by="gates", top_p=top_p))
        assert pick[0].tolist() == found
        assert pick[1].tolist() == [0] + [-1] * (len(found) - 1)
        shares = np.exp(scores[0, found].double().numpy())
        assert weight[0].tolist() == pytest.approx((shares / shares.sum()).tolist(), rel=1e-12)
        assert weight[1, 0] == 1 and not weight[1, 1:].any()
    pick, _ = choose_pieces(scores, ALL, AssembleConfig(by="gates", top_p=1.0))
    assert sorted(pick[0].tolist()) == [0, 1, 2, 3, 4]
    pick, weight = choose_pieces(scores, ~ALL, AssembleConfig(by="gates", top_p=0.5))
    assert (pick == -1).all() and not weight.any()


rows = st.lists(st.floats(-20, 20, width=32), min_size=6, max_size=6)


@given(
    scores=st.lists(rows, min_size=1, max_size=3),
    count=st.integers(1, 6),
    temperature=st.sampled_from([0.1, 1.0, 7.0]),
)
def test_choose_pieces_equals_numpy(
    scores: list[list[float]], count: int, temperature: float
) -> None:
    config = AssembleConfig(by="gates", top_k=count, temperature=temperature)
    pick, weight = choose_pieces(torch.tensor(scores), torch.ones(6, dtype=torch.bool), config)
    for row, numbers in enumerate(np.array(scores, dtype=np.float32).astype(np.float64)):
        order = np.argsort(-np.round(numbers / 1e-5), kind="stable")[:count]
        assert pick[row].tolist() == order.tolist()
        powers = np.exp((numbers[order] - numbers[order].max()) / temperature)
        assert np.allclose(weight[row], powers / powers.sum(), rtol=1e-9, atol=1e-300)


def test_draw_gumbel_noise_depends_on_seed_person_and_module() -> None:
    alone = draw_gumbel_noise(["p"], "layer.q_proj", 5, seed=1)
    assert torch.equal(draw_gumbel_noise(["o", "p"], "layer.q_proj", 5, seed=1)[1:], alone)
    assert torch.equal(
        draw_gumbel_noise(["p"], "layer.q_proj", 3, seed=1), alone[:, :3]
    )  # unchanged if more sharers join
    for other in (
        draw_gumbel_noise(["p"], "layer.q_proj", 5, seed=2),
        draw_gumbel_noise(["o"], "layer.q_proj", 5, seed=1),
        draw_gumbel_noise(["p"], "layer.k_proj", 5, seed=1),
    ):
        assert not torch.equal(other, alone)


def test_choose_pieces_samples_by_weight_without_replacement() -> None:
    """10,000 draws of two from five, compared with the summed probability of each ordered pair."""
    config = AssembleConfig(by="gates", top_k=2, temperature=0.8, sample=True)
    people = [str(n) for n in range(10_000)]
    noise = draw_gumbel_noise(people, "path", 5, seed=0)
    pick, weight = choose_pieces(SCORES.expand(len(people), -1), ALL, config, noise)
    p = softmax(*(SCORES[0] / 0.8).tolist())
    expected: dict[frozenset[int], float] = {}
    for a, b in permutations(range(5), 2):
        pair = frozenset((a, b))
        expected[pair] = expected.get(pair, 0.0) + p[a] * p[b] / (1 - p[a])
    counts = Counter(frozenset(row) for row in pick.tolist())
    for pair, share in expected.items():
        assert counts[pair] / len(people) == pytest.approx(share, abs=0.02)
    for row, theirs in zip(pick[:20].tolist(), weight[:20].tolist(), strict=True):
        scores = [float(SCORES[0, n]) for n in row]
        assert scores == sorted(scores, reverse=True)
        assert theirs == pytest.approx(softmax(*(s / 0.8 for s in scores)), rel=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 0),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", -0.1),
        ("top_p", 1.5),
        ("top_p", float("nan")),
        ("recent_k", -1),
        ("aggregate", "sum"),
    ],
)
def test_assemble_config_rejects_invalid_values(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"assemble\.{field}: .*{value}"):
        replace(AssembleConfig(by="gates"), **{field: value})
    with pytest.raises(UsageError, match="top_p"):
        AssembleConfig(by="gates", sample=True, top_p=0.5)
