"""Uvicorn's HTTP protocol with limits on what a client may send, hold open and delay.

Uvicorn waits without end for the rest of a request, and for a client that does not read its
response; with httptools it also keeps headers of any size. ``GuardedProtocol`` adds a deadline for
each request, bounds for headers and for the number of connections, and a minimum rate for reading.
Its own answers have the site's security headers, like all others.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from idiolect.web.config.addresses import group_address, parse_address
from idiolect.web.config.limits import ConnectionLimits
from idiolect.web.edge.connections import ConnectionTable
from idiolect.web.security import build_plain_answer

MIN_BYTES_PER_SECOND = 1024
"""Rate at which a client must read its response."""
MAX_PIPELINED = 8
"""Requests that wait on one connection for the response to an earlier one; browsers send none."""

_log = logging.getLogger(__name__)
_TABLES: WeakKeyDictionary[ServerState, ConnectionTable] = WeakKeyDictionary()
"""The connections of each server of this process; there is one, except in tests."""


class RefusedError(Exception):
    """Stops the parser: the request is refused with ``status``."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(
        self,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits: ConnectionLimits = settings.LIMITS
        self._table = _TABLES.setdefault(server_state, ConnectionTable())
        self._deadline: asyncio.TimerHandle | None = None
        """Closes the connection if the request has not arrived by then."""
        self._reader_check: asyncio.TimerHandle | None = None
        """Closes the connection if the client has not read enough by then."""
        self._refusal: RefusedError | None = None
        # The current request: whether it has begun, whether it is being answered, and its sizes.
        self._in_message = self._head_accepted = False
        self._head_bytes = self._head_count = self._wire_bytes = 0
        self.client_key = ""
        self.quiet_since = self.loop.time()

    @property
    def is_working(self) -> bool:
        """Whether a complete request is being answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    # Connections: how many there are, and how they end.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it with 503 if there are too many."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        address = parse_address(host)
        if self.client and address is not None:
            # As IPv4 if it is: the proxy's address must match, and the limits count it so.
            self.client = (str(address), self.client[1])
        self.client_key = group_address(host)
        # All visitors share the connections of a trusted proxy, which has limits of its own.
        is_proxy = address is not None and any(address in network for network in settings.PROXIES)
        own = self._table.count_of_client(self.client_key)
        if not is_proxy and own >= self._limits.connections_per_client:
            self._refuse_connection(f"one client has {own} connections")
        elif len(self.connections) > self._limits.connections and not self._make_room():
            self._refuse_connection(f"all {len(self.connections) - 1} connections are in use")
        else:
            self._table.add(self)
            self._start_deadline()

    def _make_room(self) -> bool:
        """Close a connection that waits for its client; return whether there was one."""
        other = self._table.find_dispensable()
        if other is not None:
            other.abort()
        return other is not None

    def abort(self) -> None:
        """Close the connection at once."""
        self._forget_connection()
        self.transport.abort()

    def _refuse_connection(self, why: str) -> None:
        _log.warning("refused a connection: %s", why)
        self._forget_connection()
        self._answer_and_close(503, "The site has too many connections. Try again in a moment.")

    def _forget_connection(self) -> None:
        """Stop counting a connection that is about to close."""
        self._table.remove(self)
        self.connections.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        self._table.remove(self)
        self._stop_deadline()
        super().connection_lost(exc)

    # Requests: when they arrive, and how large they are.

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request; refuse it if it is too large."""
        if self.transport.is_closing() or self.parser is None:
            return
        limit = self._limits.head_bytes
        self._wire_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        # The parser collects a header until it is complete; the callbacks count the others.
        if not self._head_accepted and self._wire_bytes > limit + len(data):
            self._refuse(RefusedError(431, "The headers of the request are too large."))
        # A body in many small parts, or one that goes on after it was refused with 413.
        elif self._wire_bytes > limit + len(data) + 4 * settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            self._refuse(RefusedError(413, "The request is too large."))
        elif (
            self._deadline is None
            and self.timeout_keep_alive_task is None
            and (self.cycle is None or self.cycle.response_complete)
        ):
            # Bytes that begin no request, such as empty lines, ended uvicorn's own timeout.
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Start the deadline and the counts of a request."""
        super().on_message_begin()
        self._in_message, self._head_accepted = True, False
        self._head_bytes = self._head_count = self._wire_bytes = 0
        self._start_deadline()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's address."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; drop those after the body, which no proxy has checked."""
        self._head_count += 1
        self._count_head(len(name) + len(value))
        if not self._head_accepted:
            super().on_header(name, value)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes or self._head_count > self._limits.headers:
            raise self._remember(RefusedError(431, "The headers of the request are too large."))

    def on_headers_complete(self) -> None:
        """Start answering; refuse a websocket, since the site has none, and too many requests."""
        if self._get_upgrade() == b"websocket":
            raise self._remember(RefusedError(403, "This site has no websockets."))
        if len(self.pipeline) >= MAX_PIPELINED:
            raise self._remember(RefusedError(429, "Too many requests wait on this connection."))
        super().on_headers_complete()
        self._head_accepted = True

    def on_message_complete(self) -> None:
        """End the deadline: the request has arrived."""
        self._in_message = False
        self._stop_deadline()
        super().on_message_complete()

    def _remember(self, refusal: RefusedError) -> RefusedError:
        """Keep a refusal: the parser replaces the error that a callback raises."""
        self._refusal = refusal
        return refusal

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: the request is answered as if it did not ask for another protocol."""

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser stopped at: it is refused or no HTTP."""
        self._refuse(self._refusal or RefusedError(400, msg))

    def _start_deadline(self) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(self._limits.request_seconds, self._end_waiting)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_waiting(self) -> None:
        """Close a connection whose request has not arrived in time."""
        self._deadline = None
        if self._in_message:
            self._refuse(RefusedError(408, "The request did not arrive in time."))
        else:
            self.transport.close()  # no request has begun: there is nothing to answer

    # Responses: the protocol's own, and how fast a client reads.

    def _refuse(self, refusal: RefusedError) -> None:
        """Answer the current request with the refusal, if that is possible, and close."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._head_accepted):
            self._answer_and_close(refusal.status, refusal.text)
        elif cycle.response_complete:
            self.transport.close()  # the request is answered already: its body was too large
        elif cycle.more_body and not cycle.response_started and not self.pipeline:
            self._answer_and_close(refusal.status, refusal.text)
        else:
            self.abort()  # an answer would be taken for a part of another response

    def _answer_and_close(self, status: int, text: str) -> None:
        headers, body = build_plain_answer(status, text)
        headers += [*self.server_state.default_headers, (b"connection", b"close")]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self._stop_deadline()
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
        self._watch_reader()  # closing waits until the client has read everything

    def on_response_complete(self) -> None:
        """Watch how fast the client reads the rest of the response."""
        super().on_response_complete()
        self.quiet_since = self.loop.time()
        self._watch_reader()

    def _watch_reader(self, unread_before: int | None = None) -> None:
        """Close the connection if the client has read too little since the last check."""
        # A check of an earlier response would count this one as unread.
        if self._reader_check is not None:
            self._reader_check.cancel()
            self._reader_check = None
        unread = self.transport.get_write_buffer_size()
        seconds = self._limits.stall_seconds
        if not unread:
            return
        if unread_before is not None and unread_before - unread < MIN_BYTES_PER_SECOND * seconds:
            self.transport.abort()
        else:
            self._reader_check = self.loop.call_later(seconds, self._watch_reader, unread)
