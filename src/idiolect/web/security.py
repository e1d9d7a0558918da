"""The security headers of every response: middleware for pages, and plain answers without Django.

A page may load only files of this site. No page has inline scripts or styles, so a player's text
can never become one.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

# Django's own SecurityMiddleware adds nosniff, Referrer-Policy and HSTS.
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def strict_policies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Add the security headers, and keep pages out of shared caches and the back button's cache.

    A response that sets ``Cache-Control`` itself (static files) keeps it.
    """

    def handle_request(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in _HEADERS.items():
            response[name] = value
        response.setdefault("Cache-Control", "no-store")
        return response

    return handle_request


def build_plain_answer(status: int, text: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of an answer without a page, for requests that do not reach Django.

    They are too large, too slow, too many, or no HTTP.

    Args:
        status: HTTP status; 503 asks the client to come back in some seconds.
        text: one sentence for the person at the browser.
    """
    headers = _HEADERS | {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "Cache-Control": "no-store",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(text.encode())),
    }
    if settings.SECURE_HSTS_SECONDS:
        headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}"
    if status == 503:
        headers["Retry-After"] = "5"
    return [(k.lower().encode(), v.encode()) for k, v in headers.items()], text.encode()
