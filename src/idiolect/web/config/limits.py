"""Limits on connections and requests, read from environment variables.

Each server process has these limits of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from idiolect.errors import UsageError

_PREFIX = "IDIOLECT_"


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """How many connections a server process accepts, and how long it waits for a client.

    The variable of a field is its name in capitals, for example ``IDIOLECT_CONNECTIONS``.
    """

    connections: int = 800
    """Open connections. Usually a process may open 1,024 files, and databases need some."""
    connections_per_client: int = 256
    """Open connections of one address. A school class has one, and each browser opens six."""
    request_seconds: float = 20.0
    """Seconds in which a request must arrive completely, counted from its first byte."""
    idle_seconds: float = 75.0
    """Seconds between two requests on a connection. A player who thinks about a word keeps the
    connection: a form would be lost if it is sent just when the server closes it."""
    stall_seconds: float = 20.0
    """Seconds in which a client must take at least 1 KiB per second of its response."""
    head_bytes: int = 16 * 1024
    """Size of the address and the headers of a request. Those of browsers have under 4 KiB."""
    headers: int = 100
    """Number of headers of a request."""


def parse_limits(environment: Mapping[str, str]) -> ConnectionLimits:
    """Return the limits in environment variables; the default where there is none.

    Raises UsageError if a value is not a positive number.
    """
    found: dict[str, float] = {}
    for field in fields(ConnectionLimits):
        name = _PREFIX + field.name.upper()
        text = environment.get(name, "").strip()
        if not text:
            continue
        whole = isinstance(field.default, int)
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)):
            sort = "whole number" if whole else "number"
            raise UsageError(f"{name} is {text!r}; set it to a positive {sort}")
        found[field.name] = value
    return ConnectionLimits(**found)  # pyright: ignore[reportArgumentType]
