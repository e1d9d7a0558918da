"""Settings from the command line, which override a config file or the defaults.

Works on any nested frozen dataclass; settings have dotted names (``train.rate=1e-4``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from idiolect.config import from_plain, load_config, to_plain
from idiolect.errors import UsageError

C = TypeVar("C")

EXAMPLES: Mapping[str, str] = {"--set": "train.rate=1e-4", "--engine": "compile=true"}


@dataclass(frozen=True, kw_only=True)
class ConfigOverrides:
    """The settings that the command line gives, before the config is built."""

    file: Path | None = None
    """TOML or JSON file of settings."""
    settings: tuple[tuple[str, object], ...] = ()
    """Dotted names and values; a later one overrides an earlier one. Strings are parsed as TOML."""

    def build_config(self, kind: type[C], defaults: C | None = None) -> C:
        """Build a config from the file, or else from ``defaults``, and apply the settings.

        Raises UsageError if a setting is unknown or invalid, MissingError if the file cannot be
        read.
        """
        config = load_config(kind, self.file) if self.file else defaults or kind()
        return override_settings(config, self.settings)


def parse_setting(text: str, option: str = "--set") -> tuple[str, str]:
    """Split ``NAME=VALUE``. Raises UsageError if the text has another form."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{option} {text!r}: write NAME=VALUE, e.g. {EXAMPLES[option]}")
    return name.strip(), value.strip()


def parse_settings(texts: Iterable[str], option: str = "--set") -> list[tuple[str, str]]:
    """Split several ``NAME=VALUE``. Raises UsageError if a text has another form, or if a name
    comes twice: the first value would be lost."""
    settings = [parse_setting(text, option) for text in texts]
    names = [name for name, _ in settings]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{option}: {name} is given {names.count(name)} times; give it once")
    return settings


def merge_settings(
    settings: Iterable[tuple[str, object]], given: Mapping[str, object]
) -> tuple[tuple[str, object], ...]:
    """Return the settings with those that a command's own options gave; ``None`` means not given.

    Raises UsageError if a setting has another value already: one of the two would be lost.
    """
    settings = tuple(settings)
    known = dict(settings)
    chosen = {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        if name in known and _parse_value(known[name], like=None) != value:
            raise UsageError(
                f"--set: {name} is {known[name]}, but the option for it says {value}; give one of "
                "them"
            )
    return (*settings, *chosen.items())


def override_settings(config: C, settings: Iterable[tuple[str, object]]) -> C:
    """Return the config with the settings replaced.

    Raises UsageError if a name is unknown or a value is invalid.
    """
    settings = list(settings)
    if not settings:
        return config
    plain = to_plain(config)
    for name, value in settings:
        # Walk down to the table that holds the setting; `from_plain` reports unknown names.
        *tables, last = name.split(".")
        table = plain
        for depth, inner in enumerate(tables, 1):
            table = table.setdefault(inner, {})
            if not isinstance(table, dict):
                raise UsageError(
                    f"{'.'.join(tables[:depth])} is a single value and has no setting {last!r}"
                )
        table[last] = _parse_value(value, like=table.get(last))
    return from_plain(type(config), plain)


def _parse_value(value: object, *, like: object) -> Any:
    """Parse a string as the type of the present value ``like``; for a list, accept ``a,b``."""
    if not isinstance(value, str):
        return value
    if isinstance(like, list) and not value.startswith("["):
        has_strings = like and isinstance(like[0], str)
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return parts if has_strings else [_parse_literal(part) for part in parts]
    return value if isinstance(like, str) else _parse_literal(value)


def _parse_literal(text: str) -> Any:
    """Parse a string as a TOML value; return the string itself if it is not one."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
