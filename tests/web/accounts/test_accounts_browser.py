"""Account pages in a real browser: keyboard, accessibility, small screens, no foreign scripts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from support import browser as chromium
from support.django_site import PASSWORD

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed"),
]
LOOKS = [("light", 1100), ("dark", 1100), ("light", 360)]


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    with chromium.launch_browser() as running:
        yield running


@pytest.fixture
def console() -> list[str]:
    """Messages and errors that pages wrote to the browser's console; filled by ``open_page``."""
    return []


def open_page(browser: Any, site: str, console: list[str], scheme: str, width: int) -> Any:
    """Open a page with a color scheme ("light", "dark") and a width in CSS pixels."""
    context = browser.new_context(
        base_url=site, color_scheme=scheme, viewport={"width": width, "height": 740}
    )
    page = context.new_page()
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    return page


def find_violations(page: Any) -> list[str]:
    """Return the serious accessibility violations that axe finds on the page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{page.url}: {f['id']}" for f in found if f["impact"] in ("serious", "critical")]


def scrolls_sideways(page: Any) -> bool:
    """Return whether the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_account_pages_are_accessible_and_fit_screen(
    browser: Any, live_server: Any, console: list[str], scheme: str, width: int
) -> None:
    page = open_page(browser, live_server.url, console, scheme, width)
    page.goto("/sign-up/")
    page.get_by_label("Name").fill("a-name-that-is-as-long-as-it-g")
    page.get_by_label("Password").fill("password")
    page.keyboard.press("Enter")
    page.get_by_text("too common").wait_for()
    violations = find_violations(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="a-name-that").wait_for()
    for path in ("/no-such-page/", "/account/password/", "/account/delete/", "/account/"):
        page.goto(path)
        assert not scrolls_sideways(page), path
    assert violations == []
    assert [text for text in console if "404" not in text and "422" not in text] == []


def test_sign_in_works_with_keyboard_only(
    browser: Any, live_server: Any, console: list[str], ann: Any
) -> None:
    page = open_page(browser, live_server.url, console, "light", 1100)
    page.goto("/sign-in/")
    page.locator("[autofocus]:focus").wait_for()
    page.keyboard.type("ann")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("Please enter a correct name").wait_for()
    page.locator("[autofocus]:focus").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="ann").wait_for()
    page.goto("/account/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"


def test_content_security_policy_blocks_inline_script(
    browser: Any, live_server: Any, console: list[str], ann: Any
) -> None:
    page = open_page(browser, live_server.url, console, "light", 1100)
    page.goto("/sign-in/")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'run'";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='document.title=1'>");
        }"""
    )
    page.wait_for_timeout(200)
    assert page.title() == "Sign in · Idiolect"
    assert any("Content Security Policy" in text for text in console)
