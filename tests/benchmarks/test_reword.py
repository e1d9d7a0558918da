from __future__ import annotations

import json
from pathlib import Path

import pytest

import reword
from idiolect.errors import UsageError

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("name", ["pieces", "unlearning"])
def test_reword_result_gives_the_published_result(name: str) -> None:
    text = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
    result = reword.reword_result(json.loads(text))
    assert json.dumps(result, indent=1, sort_keys=True) + "\n" == text


def test_reword_result_refuses_a_result_without_raw_numbers() -> None:
    with pytest.raises(UsageError, match="demo: its result lacks the raw numbers"):
        reword.reword_result({"name": "demo"})
