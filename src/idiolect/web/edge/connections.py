"""The open connections of a server process, by client."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Connection(Protocol):
    """A connection, as this table sees it."""

    client_key: str
    """The client, as limits count it."""
    quiet_since: float
    """When the connection was made, or its last response ended."""

    @property
    def is_working(self) -> bool:
        """Whether a complete request is being answered."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


class ConnectionTable:
    """Counts the connections of each client, and finds one to close if there are too many."""

    def __init__(self) -> None:
        self._by_client: dict[str, dict[Connection, None]] = {}

    def add(self, connection: Connection) -> None:
        """Add a connection."""
        self._by_client.setdefault(connection.client_key, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection; does nothing if it was removed before."""
        own = self._by_client.get(connection.client_key, {})
        own.pop(connection, None)
        if not own:
            self._by_client.pop(connection.client_key, None)

    def count_of_client(self, client_key: str) -> int:
        """Return the number of connections of a client."""
        return len(self._by_client.get(client_key, ()))

    def find_dispensable(self) -> Connection | None:
        """Return the connection to close for a new one; None if all of them are working.

        That is the one that has been quiet longest, of the client with the most connections: a
        client that opens many closes its own.
        """
        quiet = ([c for c in own if not c.is_working] for own in self._by_client.values())
        most: Collection[Connection] = max(quiet, key=len, default=())
        return min(most, key=lambda c: c.quiet_since, default=None)
