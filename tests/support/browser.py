"""The system's Chromium for tests in a real browser; they are skipped where there is none.

Knows the browser; knows no page. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)


@contextlib.contextmanager
def browser() -> Generator[Any]:
    """A running browser (a Playwright ``Browser``), closed at the end."""
    assert PROGRAM is not None, "skip the test where there is no Chromium"
    from playwright.sync_api import sync_playwright

    # Playwright's own loop runs in this thread; Django would refuse to be used beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    options = ["--disable-dev-shm-usage", "--disable-gpu"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # it refuses to run as root with one
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=PROGRAM, args=options)
        try:
            yield running
        finally:
            running.close()
