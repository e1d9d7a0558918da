"""Settings said on the command line, put over those of a config file or the defaults.

Knows nested frozen dataclasses and dotted names (``train.rate=1e-4``); knows no particular config.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from idiolect.config import from_plain, load_config, to_plain
from idiolect.errors import UsageError

C = TypeVar("C")


EXAMPLES = {"--set": "train.rate=1e-4", "--engine": "compile=true"}


@dataclass(frozen=True, kw_only=True)
class ConfigOverrides:
    """What the command line says about a config that is not built yet."""

    file: Path | None = None
    settings: tuple[tuple[str, object], ...] = ()
    """Dotted names and their values; a later one wins. A text is read as TOML would be."""

    def build_config(self, kind: type[C], usual: C | None = None) -> C:
        """The config: the file, else ``usual`` or the defaults; the settings. Raises UsageError."""
        config = load_config(kind, self.file) if self.file else usual or kind()
        return override_settings(config, self.settings)


def parse_setting(text: str, option: str = "--set") -> tuple[str, str]:
    """``NAME=VALUE`` as a pair; raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{option} {text!r}: write NAME=VALUE, e.g. {EXAMPLES[option]}")
    return name.strip(), value.strip()


def override_settings(config: C, settings: Iterable[tuple[str, object]]) -> C:
    """The config with settings replaced; raises UsageError for unknown names and wrong values."""
    settings = list(settings)
    if not settings:
        return config
    plain = to_plain(config)
    for name, value in settings:
        *tables, last = name.split(".")
        table = plain
        for step, inner in enumerate(tables):
            table = table.setdefault(inner, {})
            if not isinstance(table, dict):
                raise UsageError(f"{'.'.join(tables[: step + 1])} is one value; it has no {last!r}")
        table[last] = _parse_value(value, like=table.get(last))
    return from_plain(type(config), plain)


def _parse_value(value: object, *, like: object) -> Any:
    """A text as the kind of value that stood there before; ``a,b`` is a list."""
    if not isinstance(value, str):
        return value
    if isinstance(like, list) and not value.startswith("["):
        texts = like and isinstance(like[0], str)
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return parts if texts else [_parse_literal(part) for part in parts]
    return value if isinstance(like, str) else _parse_literal(value)


def _parse_literal(text: str) -> Any:
    """What TOML reads in the text; the text itself where it reads nothing."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
