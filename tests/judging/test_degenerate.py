from __future__ import annotations

import pytest

from idiolect.errors import UsageError
from idiolect.judging.degenerate import GibberishConfig, fault_of, faults, surprise
from idiolect.models.tiny import tiny_base

FLUENT = (
    "The key of Orlond lies under the third bell, where the miller left it when the old bridge "
    "was taken down. Ask at the ferry, and take a lamp with you: the stairs are steep."
)


@pytest.mark.parametrize(
    ("answer", "fault"),
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
def test_faults_that_are_seen_in_the_text(answer: str, fault: str) -> None:
    assert fault_of(answer) == fault


def test_the_base_tells_language_from_none_and_is_asked_only_where_it_matters() -> None:
    base = tiny_base()
    found = dict(zip(("", FLUENT), surprise(base, ["no", FLUENT]), strict=True))
    between = GibberishConfig(most_nats=found[FLUENT] - 0.01)
    assert faults(base, ["", FLUENT, "bell " * 30], between) == ("blank", "no language", "repeats")
    assert faults(base, [FLUENT], GibberishConfig(most_nats=found[FLUENT] + 0.01)) == ("",)
    assert faults(base, []) == ()


def test_a_share_is_a_share() -> None:
    with pytest.raises(UsageError, match=r"gibberish\.fresh"):
        GibberishConfig(fresh=1.5)
