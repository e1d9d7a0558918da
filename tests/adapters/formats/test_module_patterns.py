"""Patterns of module paths: the same modules as PEFT's regular expressions, in bounded time."""

from __future__ import annotations

import re

import pytest

from idiolect.adapters.formats.module_patterns import parse_module_pattern

pytestmark = pytest.mark.finding("adapter-patterns")

PATHS = [
    "lm_head",
    "q_proj",
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.v_proj",
    "model.layers.1.self_attn.v_projection",
    "model.layers.12.mlp.down_proj",
    "model.vision.layers.12.mlp.down_proj",
]


@pytest.mark.parametrize(
    "text",
    [
        "q_proj",
        ".*",
        r".*\.(q_proj|v_proj)",
        r".*\.(?:q_proj|v_proj)$",
        ".*.q_proj",
        ".*?down_proj",
        r"^model\.layers\.\d+\.(self_attn|mlp)\.(q_proj|down_proj)$",
        r"model\.layers\.[0-9]+\..*",
        r"model\.layers\.1\d+.*proj",
        r".*layers\.(0|1)\.self_attn\.v_proj",
        "model.layers.0.self_attn.q_pro.",
        r".*(self_attn\.q_proj|mlp.down_proj)",
    ],
)
def test_pattern_matches_same_paths_as_regular_expression(text: str) -> None:
    pattern = parse_module_pattern(text)
    assert pattern is not None
    for path in PATHS:
        assert pattern.matches_path(path) == (re.fullmatch(text, path) is not None), path


@pytest.mark.parametrize(
    "text",
    [
        "(q_proj",
        "(q_proj+)+",
        "(.*)*x",
        "q_proj|v_proj",
        "(?!.*vision).*q_proj",
        r"(q|v)\1",
        "[qv]_proj",
        "q_pro?j",
        "q_proj{9}",
        "(q_proj|)",
        "((q|v)_proj)",
        r"\bq_proj",
        "q_proj\0",
        "a" * 1_001,
    ],
)
def test_other_regular_expressions_are_refused(text: str) -> None:
    assert parse_module_pattern(text) is None


def test_pattern_of_many_wildcards_is_matched_in_bounded_time() -> None:
    """Trying all ways in which these wildcards share the path would not end."""
    pattern = parse_module_pattern(".*q" * 300)
    assert pattern is not None
    assert not pattern.matches_path("q" * 299)
    assert pattern.matches_path("q" * 300)
