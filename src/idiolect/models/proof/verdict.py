"""The verdict on a base's ways: proven once, then read from the user's cache.

It holds for the same weights, config, libraries, device and precision only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
import transformers

from idiolect.errors import IdiolectError
from idiolect.events import Listener, Message
from idiolect.models.base import Base
from idiolect.models.folder.bundled import get_cache_folder
from idiolect.models.proof.prove import prove_ways
from idiolect.models.ways import WAY_COSTS, Ways
from idiolect.storage.files import read_json, write_json

PROOF_VERSION = 2
"""Changes with everything that may change a verdict: the ways and the proof."""


def find_ways(base: Base, listener: Listener) -> Ways:
    """Return the verdict on a base with its default attention, from the cache or from a proof.

    A new verdict by which some ways are off is reported in one line. Raises the errors of
    ``prove_ways``.
    """
    known = _find_cache_file(base)
    with contextlib.suppress(IdiolectError):
        found = _parse_ways(read_json(known))
        if found is not None:
            return found
    ways = prove_ways(base)
    if ways.reasons:
        listener(Message(text=describe_ways(base.name, ways)))
    # Without a cache, the next load takes a few seconds longer.
    with contextlib.suppress(IdiolectError):
        write_json(known, asdict(ways) | {"flat_modules": sorted(ways.flat_modules)})
    return ways


def describe_ways(name: str, ways: Ways) -> str:
    """Say in one line which ways are off and what that costs."""
    costs = "; ".join(f"{cost} ({way})" for way, cost in WAY_COSTS.items() if way in ways.reasons)
    return (
        f"{name}: some faster ways of running would give other numbers on this base, so they are "
        f"off, and results are right: {costs}"
    )


def _find_cache_file(base: Base) -> Path:
    """Return the file of the verdict that holds for this base here and now."""
    key = json.dumps(
        [
            PROOF_VERSION,
            base.identity,
            base.model.config.to_json_string(),
            transformers.__version__,
            torch.__version__,
            base.device.type,
            torch.cuda.get_device_name(base.device)
            if base.device.type == "cuda"
            else torch.backends.cpu.get_cpu_capability(),
            str(base.dtype),
            base.quantization,
        ]
    )
    return get_cache_folder() / "verdicts" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _parse_ways(value: Any) -> Ways | None:
    """Return the verdict that a cache file holds; None if it is not one."""
    names = {field.name for field in fields(Ways)}
    if not isinstance(value, dict) or set(cast("dict[str, Any]", value)) != names:
        return None
    known = cast("dict[str, Any]", value)
    flat, reasons = known.pop("flat_modules"), known.pop("reasons")
    if not (isinstance(flat, list) and isinstance(reasons, dict)):
        return None
    if not all(isinstance(one, bool) for one in known.values()):
        return None
    paths = frozenset(map(str, cast("list[Any]", flat)))
    return Ways(flat_modules=paths, reasons=cast("dict[str, str]", reasons), **known)
