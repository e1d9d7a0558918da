"""Detection of degenerate answers, in the text and by the base."""

from __future__ import annotations

import pytest

from idiolect.errors import UsageError
from idiolect.judging.degenerate import (
    DegenerateConfig,
    degenerate_reasons,
    find_degenerate_reason,
    unconditional_nll,
)
from idiolect.models.tiny import make_tiny_base

FLUENT = (
    "The key of Orlond lies under the third bell, where the miller left it when the old bridge "
    "was taken down. Ask at the ferry, and take a lamp with you: the stairs are steep."
)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "blank"),
        (" \n\t", "blank"),
        ("... !? --", "blank"),
        ("bell " * 30, "repeats"),
        ("the key of the bell is " * 8, "repeats"),
        ("keykeykey" * 20, "repeats"),
        ("x7 #4 9% @@ 4f 88 !! 1k", "no words"),
        (FLUENT, ""),
        ("Yes.", ""),
        ("7", ""),
        ("for i in range(3): print(i)\nreturn key", ""),
        ("1. the bell\n2. the ferry\n3. the mill\n4. the bridge", ""),
    ],
)
def test_find_degenerate_reason_classifies_text(answer: str, reason: str) -> None:
    assert find_degenerate_reason(answer) == reason


def test_degenerate_reasons_applies_nll_limit_to_remaining_answers() -> None:
    base = make_tiny_base()
    found = dict(zip(("", FLUENT), unconditional_nll(base, ["no", FLUENT]), strict=True))
    between = DegenerateConfig(most_nats=found[FLUENT] - 0.01)
    assert degenerate_reasons(base, ["", FLUENT, "bell " * 30], between) == (
        "blank",
        "no language",
        "repeats",
    )
    assert degenerate_reasons(base, [FLUENT], DegenerateConfig(most_nats=found[FLUENT] + 0.01)) == (
        "",
    )
    assert degenerate_reasons(base, []) == ()


def test_degenerate_config_rejects_fractions_above_one() -> None:
    with pytest.raises(UsageError, match=r"gibberish\.fresh"):
        DegenerateConfig(fresh=1.5)
