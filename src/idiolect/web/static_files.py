"""Middleware that serves styles and scripts from the installed packages, with WhiteNoise."""

from __future__ import annotations

import contextlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise with whole files as responses instead of streams.

    The files are small, and Django warns about each stream that it has to read for an ASGI server.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the file with WhiteNoise's headers and status (304 if the browser has it)."""
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with contextlib.closing(found.file) as file:
                content = file.read()
        # WhiteNoise sets the content type itself, and none for 304.
        response = HttpResponse(content, status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
