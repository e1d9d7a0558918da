"""The installed Chromium, for tests in a real browser; they are skipped without it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)
"""Path of Chromium; None if it is not installed."""


@contextlib.contextmanager
def launch_browser() -> Generator[Any]:
    """Run a browser (Playwright's ``Browser``) during the block."""
    assert PROGRAM is not None, "skip the test if Chromium is not installed"
    from playwright.sync_api import sync_playwright

    # Playwright's event loop runs in this thread, where Django would refuse database access.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    options = ["--disable-dev-shm-usage", "--disable-gpu"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # as root, Chromium refuses to run with a sandbox
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=PROGRAM, args=options)
        try:
            yield running
        finally:
            running.close()
