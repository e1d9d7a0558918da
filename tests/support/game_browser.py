"""Chromium for tests of the game's pages: start it, open a context, check accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.game_live_server import CHROMIUM

PASSWORD = "correct horse battery"


@contextmanager
def launch_chromium() -> Iterator[Browser]:
    """Runs Chromium for the duration of the block."""
    with sync_playwright() as playwright:
        # Chromium's own sandbox has no rights in a container, and the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_context(browser: Browser, site: str, **options: object) -> BrowserContext:
    """Opens a browser context without cookies; a script error in it fails the test."""
    context = browser.new_context(base_url=site, reduced_motion="reduce", **options)  # pyright: ignore[reportArgumentType]
    context.set_default_timeout(20_000)
    context.on("weberror", lambda error: pytest.fail(f"script error: {error.error}"))
    return context


def check_accessibility(page: Page, name: str) -> None:
    """Asserts that axe finds no serious problem and that the page fits the window's width."""
    problems = [
        f"{name}: {rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    assert not problems, "\n".join(problems)
    excess = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert excess <= 0, f"{name} is {excess} pixels too wide"
