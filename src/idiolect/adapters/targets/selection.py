"""Which modules of a model the setting ``lora.targets`` means, and how they are named in files."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from idiolect.adapters.targets.attention import find_default_modules, find_wide_modules
from idiolect.adapters.targets.linear import TargetModule, list_linear_modules
from idiolect.adapters.targets.patterns import (
    ALL_LINEAR,
    AUTO,
    AUTO_WIDE,
    has_names_only,
    matches_target,
)
from idiolect.adapters.targets.peft_rules import find_refused_modules
from idiolect.errors import UsageError

_MAX_LISTED = 20
"""Largest number of names of modules in a message."""


def select_modules(model: Any, targets: tuple[str, ...]) -> tuple[TargetModule, ...]:
    """Return the linear modules that the targets mean, in the model's order.

    ``auto``, ``auto-wide`` and ``all-linear`` leave out what PEFT refuses. Raises
    UsageError if a target means no linear module, or the output head.
    """
    linear = list_linear_modules(model)
    if has_names_only(targets):
        return _select_named(model, targets, linear)
    wanted = targets[0]
    by_place = {AUTO: find_default_modules, AUTO_WIDE: find_wide_modules}
    if wanted in (*by_place, ALL_LINEAR):
        found = by_place[wanted](model, linear) if wanted in by_place else linear
        refused = find_refused_modules(model, found)
        found = tuple(module for module in found if module.path not in refused)
    else:
        found = tuple(module for module in linear if matches_target(wanted, module.path))
    if not found:
        raise UsageError(
            f"lora.targets: {wanted!r} means no linear module of the base model; "
            f"{_describe_linear(linear)}"
        )
    return found


def name_modules(model: Any, modules: Sequence[TargetModule]) -> tuple[str, ...]:
    """Return the shortest names that mean exactly these modules of the model, by PEFT's rule: last
    parts of paths, or else whole paths."""
    names = dict.fromkeys(module.name for module in modules)
    meant = {path for path, _ in model.named_modules() if path.rpartition(".")[2] in names}
    paths = tuple(module.path for module in modules)
    return tuple(names) if meant == set(paths) else paths


def require_loadable(model: Any, modules: Sequence[TargetModule]) -> None:
    """Raise UsageError if PEFT would refuse to load an adapter on one of the modules."""
    refused = find_refused_modules(model, modules)
    if refused:
        path, reason = next(iter(refused.items()))
        names = sorted({path.rpartition(".")[2] for path in refused})
        raise UsageError(
            f"lora.targets: PEFT cannot load adapters on {', '.join(names)} of this base model "
            f"({path}: {reason}); leave that out, or use all-linear for all that it can load"
        )


def _select_named(
    model: Any, targets: tuple[str, ...], linear: Sequence[TargetModule]
) -> tuple[TargetModule, ...]:
    """Return the modules with these names; see ``select_modules``."""
    found = tuple(module for module in linear if matches_target(targets, module.path))
    head = model.get_output_embeddings()
    for target in targets:
        if any(matches_target((target,), module.path) for module in found):
            continue
        others = {
            path: module
            for path, module in model.named_modules()
            if matches_target((target,), path)
        }
        for path, module in others.items():
            if module is head:
                raise UsageError(f"lora.targets: the output head {path!r} cannot carry an adapter")
        raise UsageError(
            f"lora.targets: the base model has no linear module named {target!r}"
            f"{' in its text part' if others else ''}; {_describe_linear(linear, like=target)}"
        )
    return found


def _describe_linear(linear: Sequence[TargetModule], like: str = "") -> str:
    """List the names of linear modules with their numbers, those like a given name first."""
    counts = Counter(module.name for module in linear)
    likely = difflib.get_close_matches(like, counts, n=3)
    # Then those of attention, which is where most adapters are.
    attention = {m.name for m in linear if re.search(r"attn|attention", m.path.lower())}
    order = dict.fromkeys((*likely, *(name for name in counts if name in attention), *counts))
    shown = [f"{name} ({counts[name]})" for name in order][:_MAX_LISTED]
    more = ", ..." if len(order) > len(shown) else ""
    return f"it has {', '.join(shown)}{more}; auto means those of attention"
