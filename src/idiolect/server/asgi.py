"""The site as an ASGI application, for uvicorn: ``idiolect.server.asgi:application``.

Its pages are synchronous code. Django's own ASGI handler would run each request in a new thread
with a new connection to the database, which costs as much as the page; here a few threads that stay
run them one after the other, each with a connection that stays.
"""

from __future__ import annotations

import os
from typing import Any

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.server.settings")

THREADS = 8
"""Pages at once: they wait for little, and more would only wait for each other's writing."""

_pages: Any = get_wsgi_application()  # the two packages' types of WSGI differ in words
application = WSGIMiddleware(_pages, workers=THREADS)
