"""The site as an ASGI application, for uvicorn: ``idiolect.web.asgi:application``.

The site's views are synchronous. Django's own ASGI handler runs each request in a new thread with a
new database connection, which costs as much as the view itself. This handler uses a fixed pool of
threads, each with a persistent connection. A request changes threads only twice: the event loop
reads the whole body, a thread renders the whole response, and the event loop sends it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from io import BytesIO
from typing import Any, cast

import django
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.urls import reverse, set_script_prefix

from idiolect.web.config.addresses import group_address
from idiolect.web.edge.fair_queue import FairQueue, QueueFullError
from idiolect.web.security import build_plain_answer

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body of a response."""

THREADS = 8
"""Number of requests rendered at the same time. Views rarely wait for I/O, and more threads would
only wait for each other's database writes."""
PASSWORD_THREADS = 2
"""Number of requests with a password at the same time. Each takes 100 MB for its hash, on purpose;
they have threads of their own, so that other pages need not wait for them."""
PASSWORD_PAGES = ("accounts:sign-in", "accounts:sign-up", "accounts:password", "accounts:delete")

_log = logging.getLogger(__name__)


class DjangoApp(BaseHandler):
    """ASGI application that renders Django's synchronous views in pools of threads.

    Clients take turns, so that one with many requests delays the others by one request at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()
        # A class of 30 that loads its first page sends 240 requests from one address.
        self._pages = FairQueue("page", threads=THREADS, places=1024, places_per_client=256)
        # Two threads check about 30 passwords a second: the last in the queue waits two seconds.
        self._passwords = FairQueue(
            "password", threads=PASSWORD_THREADS, places=64, places_per_client=32
        )
        self._password_paths = {reverse(name) for name in PASSWORD_PAGES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        A body above ``DATA_UPLOAD_MAX_MEMORY_SIZE`` gets status 413, and a request that finds the
        queue full 503. Websockets are refused; clients that disconnect get no answer.
        """
        if scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            answer = await self._answer_request(scope, receive)
            if answer is not None:
                status, headers, page = answer
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": page})

    def stop_threads(self) -> None:
        """Wait for the requests that are being rendered; no request can follow."""
        self._pages.stop_threads()
        self._passwords.stop_threads()

    async def _answer_request(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the response; None if the client has disconnected."""
        too_large = _announces_too_much(scope)  # then the body is not read
        body = b"" if too_large else await _read_body(receive)
        if body is None:
            return None
        if too_large or len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return 413, *build_plain_answer(413, "The request is too large.")
        is_password = scope["method"] == "POST" and scope["path"] in self._password_paths
        queue = self._passwords if is_password else self._pages
        client = group_address(str((scope.get("client") or ("",))[0]))
        try:
            return await queue.run(client, partial(self._render_page, scope, body))
        except QueueFullError:
            text = "The site is busy. Try again in a few seconds."
            return 503, *build_plain_answer(503, text)
        except Exception:
            # Django answers errors of views; this one is about the response itself.
            _log.exception("cannot answer a request")
            return 500, *build_plain_answer(500, "Something went wrong.")

    def _render_page(self, scope: Scope, body: bytes) -> Answer:
        """Return status, headers and content of the response; runs in a thread of the pool."""
        # Django's own handler does the same: URL prefix, signal, response.
        set_script_prefix(scope.get("root_path") or "/")
        signals.request_started.send(sender=type(self), scope=scope)
        response = self.get_response(ASGIRequest(scope, BytesIO(body)))
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in response.items()
        ]
        # Django keeps cookies separate from the other headers.
        for cookie in response.cookies.values():
            headers.append((b"set-cookie", cookie.output(header="").strip().encode("ascii")))
        page = b"".join(cast("Iterable[bytes]", response))
        response.close()  # sends the signal request_finished
        return response.status_code, headers, page


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    """Confirm start and stop of the server; the site needs neither."""
    while (kind := (await receive())["type"]) in ("lifespan.startup", "lifespan.shutdown"):
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def _announces_too_much(scope: Scope) -> bool:
    """Return whether the request says that its body is larger than the site takes."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return any(int(value) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE for value in lengths)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the request body; None if the client has disconnected.

    Stops reading once the body is longer than ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes.
    """
    parts: list[bytes] = []
    size, max_size = 0, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_size or not message.get("more_body", False):
            return b"".join(parts)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.web.settings")
django.setup(set_prefix=False)
application = DjangoApp()
