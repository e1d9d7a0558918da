"""The forms of ``lora.targets``: ``auto``, ``auto-wide``, ``all-linear``, a regular expression, or
names.

A name is the end of a module's path, such as ``q_proj`` or ``self_attn.q_proj``, or the whole path.
A regular expression must match the whole path, as in PEFT.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from idiolect.errors import UsageError

AUTO = "auto"
AUTO_WIDE = "auto-wide"
ALL_LINEAR = "all-linear"
_NAME = re.compile(r"[\w.-]*")
_MAX_PATTERN_CHARACTERS = 1_000


def is_pattern(target: str) -> bool:
    """Whether a target is a regular expression: it has a character that no name has."""
    return _NAME.fullmatch(target) is None


def check_targets(targets: tuple[str, ...]) -> None:
    """Raise UsageError if targets are empty, mix names with another form, or are no valid regular
    expression."""
    if not targets:
        raise UsageError("lora.targets: name at least one module, or use auto or all-linear")
    for target in targets:
        if len(targets) > 1 and not has_names_only((target,)):
            raise UsageError(
                f"lora.targets: {target!r} is no name of a module, so it must be the only entry"
            )
        if is_pattern(target) and not _is_valid_pattern(target):
            raise UsageError(f"lora.targets: {target[:60]!r} is no valid regular expression")


def _is_valid_pattern(text: str) -> bool:
    try:
        return len(text) <= _MAX_PATTERN_CHARACTERS and bool(re.compile(text))
    except (re.error, RecursionError, OverflowError):
        return False


def has_names_only(targets: tuple[str, ...]) -> bool:
    """Whether targets are names or paths of modules, as everything stored has them."""
    return not any(
        target in (AUTO, AUTO_WIDE, ALL_LINEAR) or is_pattern(target) for target in targets
    )


def matches_target(targets: str | Collection[str], path: str) -> bool:
    """Whether a path matches a regular expression, or one of the names."""
    if isinstance(targets, str):
        return re.fullmatch(targets, path) is not None
    # Every end of the path that starts after a dot.
    parts = path.split(".")
    return any(".".join(parts[start:]) in targets for start in range(len(parts)))
