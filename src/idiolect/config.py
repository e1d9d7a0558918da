"""Converts frozen config dataclasses to and from TOML and plain data, and derives seeds.

A config class lives in the module that it configures. It is a ``@dataclass(frozen=True,
kw_only=True)`` with fields of type bool, int, float, str, tuples of these, other config classes, or
unions with ``None``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import tomli_w

from idiolect.errors import MissingError, UsageError

C = TypeVar("C")

MAX_CONFIG_BYTES = 1_000_000


def to_plain(config: object) -> dict[str, Any]:
    """Return the config as nested dicts and lists, without ``None`` fields (TOML has no null)."""
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    return {
        f.name: _value_to_plain(getattr(config, f.name))
        for f in dataclasses.fields(config)
        if getattr(config, f.name) is not None
    }


def _value_to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, (tuple, list)):
        return [_value_to_plain(v) for v in cast("tuple[Any, ...]", value)]
    return value


def from_plain(kind: type[C], data: Mapping[str, Any], *, where: str = "config") -> C:
    """Build a config of class ``kind`` from plain data.

    ``where`` names the source of the data in error messages. Raises UsageError for unknown keys and
    wrong types.
    """
    assert dataclasses.is_dataclass(kind)
    # Resolves the annotations, which are strings in modules with postponed evaluation.
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    # A misspelled setting must not be ignored silently.
    for key in data:
        if key not in names:
            raise UsageError(f"{where}: unknown setting {key!r}; known: {', '.join(names)}")
    values = {k: _build_value(hints[k], v, f"{where}.{k}") for k, v in data.items()}
    try:
        return cast("C", kind(**values))
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from error


def _build_value(hint: Any, value: Any, where: str) -> Any:
    """Check one value against its type hint and convert it; errors name ``where``."""
    # A nested config class: expect a table and build it recursively.
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a table, got {value!r}")
        return from_plain(cast("type[Any]", hint), cast("Mapping[str, Any]", value), where=where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    # Every union in a config is "T | None".
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _build_value(next(a for a in args if a is not type(None)), value, where)
    # A single string stands for a list of one.
    if origin is tuple and isinstance(value, str) and args[0] is str:
        return (value,)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_build_value(args[0], v, where) for v in cast("list[Any]", value))
    if origin is typing.Literal:
        if value not in args:
            raise UsageError(f"{where}: {value!r} is not one of {', '.join(map(str, args))}")
        return value
    # TOML and JSON write 1 for 1.0. A bool is an int in Python, but never a number in a config.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (hint is int and isinstance(value, bool))
    ):
        raise UsageError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def load_config(kind: type[C], path: Path) -> C:
    """Read a TOML or JSON file as a config of class ``kind``.

    Raises MissingError if the file cannot be read, UsageError if its content does not fit.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise MissingError(f"{path}: cannot read the config ({error.strerror})") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise UsageError(f"{path}: has more than {MAX_CONFIG_BYTES:,} bytes, so it is not a config")
    try:
        text = raw.decode("utf-8")
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    # Deeply nested values exhaust the recursion limit.
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not valid {path.suffix[1:].upper() or 'TOML'}: {error}"
        ) from error
    return from_plain(kind, data, where=str(path))


def to_toml(config: object) -> str:
    """Return the config as TOML text."""
    return tomli_w.dumps(to_plain(config))


def compute_fingerprint(value: object) -> str:
    """Return a short stable hash (16 hex digits) of a config or of plain JSON data."""
    plain = to_plain(value) if dataclasses.is_dataclass(value) else value
    # Canonical JSON: the hash must not depend on the order of keys or on spacing.
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def derive_seed(seed: int, *purpose: object) -> int:
    """Derive a 63-bit seed for one purpose, independent of the seeds for other purposes.

    ``purpose`` is any sequence of values, for example ``derive_seed(seed, person, "order")``.
    """
    text = json.dumps([seed, *map(str, purpose)], ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
