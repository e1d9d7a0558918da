"""Styles and scripts, served by WhiteNoise from inside the installed packages."""

from __future__ import annotations

import contextlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise, answering with whole files.

    They are small, and Django has to unwind WhiteNoise's streams for an ASGI server, with a warning
    each time.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The file, with WhiteNoise's headers and status (304 where the browser has it)."""
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with contextlib.closing(found.file) as file:
                content = file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
