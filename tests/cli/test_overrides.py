"""Settings from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.cli.overrides import ConfigOverrides, override_settings, parse_setting
from idiolect.errors import MissingError, UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1e-3
    epochs: int = 3
    name: str = "adam"
    targets: tuple[str, ...] = ("q", "v")
    sizes: tuple[int, ...] = (1, 2)
    how: Literal["none", "bm25"] = "none"

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise UsageError(f"inner.rate: must be above 0, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Extra:
    k: int = 4


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    extra: Extra | None = None
    on: bool = True


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("inner.rate", "1e-4", Outer(inner=Inner(rate=1e-4))),
        ("inner.rate", "2", Outer(inner=Inner(rate=2.0))),
        ("inner.rate", 0.5, Outer(inner=Inner(rate=0.5))),
        ("inner.epochs", "7", Outer(inner=Inner(epochs=7))),
        ("inner.name", "7", Outer(inner=Inner(name="7"))),
        ("inner.name", "a=b", Outer(inner=Inner(name="a=b"))),
        ("inner.targets", "q, k,v", Outer(inner=Inner(targets=("q", "k", "v")))),
        ("inner.targets", "q", Outer(inner=Inner(targets=("q",)))),
        ("inner.targets", '["o"]', Outer(inner=Inner(targets=("o",)))),
        ("inner.sizes", "[3]", Outer(inner=Inner(sizes=(3,)))),
        ("inner.sizes", "3,4", Outer(inner=Inner(sizes=(3, 4)))),
        ("inner.how", "bm25", Outer(inner=Inner(how="bm25"))),
        ("extra.k", "9", Outer(extra=Extra(k=9))),
        ("on", "false", Outer(on=False)),
    ],
)
def test_override_settings_replaces_one_field(name: str, value: object, expected: Outer) -> None:
    assert override_settings(Outer(), [(name, value)]) == expected


def test_override_settings_uses_last_value_and_keeps_others() -> None:
    found = override_settings(Outer(on=False), [("inner.epochs", "1"), ("inner.epochs", "2")])
    assert found == Outer(on=False, inner=Inner(epochs=2))


def test_override_settings_without_settings_returns_same_object() -> None:
    config = Outer()
    assert override_settings(config, []) is config


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inner.rat", "1", "unknown setting 'rat'; known: rate, epochs"),
        ("outer", "1", "unknown setting 'outer'"),
        ("inner.rate", "fast", "inner.rate: expected float, got 'fast'"),
        ("inner.epochs", "1.5", "inner.epochs: expected int, got 1.5"),
        ("inner.epochs", "true", "expected int, got True"),
        ("inner.how", "bm24", "'bm24' is not one of none, bm25"),
        ("inner.rate", "-1", "inner.rate: must be above 0"),
        ("inner", "1", "inner: expected a table"),
        ("on.off", "1", "on is a single value and has no setting 'off'"),
        ("inner.rate.x", "1", "inner.rate is a single value and has no setting 'x'"),
    ],
)
def test_override_settings_names_wrong_setting(name: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        override_settings(Outer(), [(name, value)])
    assert message in str(caught.value)


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_override_settings_parses_floats_exactly(rate: float) -> None:
    assert override_settings(Outer(), [("inner.rate", repr(rate))]).inner.rate == rate


def test_build_config_applies_settings_after_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("on = false\n[inner]\nepochs = 5\nrate = 0.1\n")
    overrides = ConfigOverrides(file=file, settings=(("inner.rate", 0.2),))
    assert overrides.build_config(Outer) == Outer(on=False, inner=Inner(epochs=5, rate=0.2))


def test_build_config_names_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nothing\.toml"):
        ConfigOverrides(file=tmp_path / "nothing.toml").build_config(Outer)


def test_parse_setting_requires_name_and_value() -> None:
    assert parse_setting("a.b = c=d") == ("a.b", "c=d")
    for broken in ("rate", "=1", ""):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            parse_setting(broken)
