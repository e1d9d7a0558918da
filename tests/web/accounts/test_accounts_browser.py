"""The pages of accounts in a real browser: by keyboard, for screen readers, on small screens."""

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
    with chromium.browser() as running:
        yield running


@pytest.fixture
def said() -> list[str]:
    """What pages wrote to the browser's console."""
    return []


def opened(browser: Any, site: str, said: list[str], scheme: str, width: int) -> Any:
    context = browser.new_context(
        base_url=site, color_scheme=scheme, viewport={"width": width, "height": 740}
    )
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page


def findings(page: Any) -> list[str]:
    """What axe finds that is serious, on the page as it is shown now."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{page.url}: {f['id']}" for f in found if f["impact"] in ("serious", "critical")]


def sideways(page: Any) -> bool:
    """Whether the page must be scrolled sideways."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_account_pages_are_readable(
    browser: Any, live_server: Any, said: list[str], scheme: str, width: int
) -> None:
    page = opened(browser, live_server.url, said, scheme, width)
    page.goto("/sign-up/")
    page.get_by_label("Name").fill("a-name-that-is-as-long-as-it-g")
    page.get_by_label("Password").fill("password")
    page.keyboard.press("Enter")
    page.get_by_text("too common").wait_for()
    serious = findings(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="a-name-that").wait_for()
    for path in ("/no-such-page/", "/account/password/", "/account/delete/", "/account/"):
        page.goto(path)
        assert not sideways(page), path
    assert serious == []
    assert [text for text in said if "404" not in text and "422" not in text] == []


def test_signing_in_by_keyboard_alone(
    browser: Any, live_server: Any, said: list[str], ann: Any
) -> None:
    page = opened(browser, live_server.url, said, "light", 1100)
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
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"


def test_a_script_in_a_page_is_not_run(
    browser: Any, live_server: Any, said: list[str], ann: Any
) -> None:
    page = opened(browser, live_server.url, said, "light", 1100)
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
    assert any("Content Security Policy" in text for text in said)
