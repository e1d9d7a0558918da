"""Whole games in a real browser: Chromium, keyboard and mouse, against the site as it is served.

Nothing here touches the database, but to put one word to two players: what a player cannot see is
not tested here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from support.game_live_server import CHROMIUM, put_again, served

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)
PASSWORD = "correct horse battery"
expect.set_options(timeout=20_000)  # a busy machine is no error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site's data lies."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """The address of a fresh site."""
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        # In a container Chromium's own sandbox has no rights; the pages are ours.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def player(browser: Browser, site: str) -> Iterator[Page]:
    """A visitor who just came."""
    with visitor(browser, site).new_page() as page:
        page.goto("/")
        yield page
    page.context.close()


def visitor(browser: Browser, site: str, **how: object) -> BrowserContext:
    """A browser without cookies; what goes wrong in it fails the test."""
    context = browser.new_context(base_url=site, reduced_motion="reduce", **how)  # pyright: ignore[reportArgumentType]
    context.set_default_timeout(20_000)
    context.on("weberror", lambda error: pytest.fail(f"script error: {error.error}"))
    return context


def choose(page: Page, *relations: str, untimed: bool = False) -> None:
    """Tick these relations and no others on the front page, and press Play."""
    for box in page.locator("input[name=relation]").all():
        box.set_checked(box.get_attribute("value") in relations)
    page.locator("input[name=untimed]").set_checked(untimed)
    page.get_by_role("button", name="Play").click()


def begin(page: Page, *relations: str, untimed: bool = False) -> str:
    """As a new visitor, agree and start; the word that is asked."""
    choose(page, *relations, untimed=untimed)
    page.get_by_role("button", name="I agree").click()
    return word(page)


def word(page: Page) -> str:
    """The word of the open round."""
    return page.locator(".question strong").inner_text()


def one_by_one(page: Page) -> None:
    """Wait until the page's script holds the keyboard: a key before that is the browser's."""
    page.locator(".boxes.one-by-one").wait_for()


def type_answers(page: Page, answers: list[str], key: str = "Enter") -> None:
    """One answer a box, with the keyboard alone."""
    one_by_one(page)
    for answer in answers:
        page.keyboard.insert_text(answer)
        page.keyboard.press(key)


def sign_up(page: Page, name: str) -> None:
    """Give the guest a name."""
    page.goto("/sign-up/")
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text(f"Welcome, {name}")).to_be_visible()


def points(page: Page) -> int:
    """The score on a result page."""
    return int(page.locator(".score .points").inner_text())


def skip(page: Page) -> str:
    """Press Escape; the word that comes instead."""
    one_by_one(page)
    before = page.url
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: url != before)
    return word(page)


def test_two_players_score_each_other(
    browser: Browser, site: str, folder: Path, player: Page
) -> None:
    asked = begin(player, "antonyms", untimed=True)
    type_answers(player, ["unheard of thing", "nothing else"])
    player.get_by_role("button", name="Done").click()
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()
    assert points(player) >= 40  # nobody played it before

    other = visitor(browser, site).new_page()
    other.goto("/")
    begin(other, "antonyms", untimed=True)
    put_again(folder)
    other.reload()
    assert word(other) == asked
    type_answers(other, ["unheard-of things", "mine"])
    other.get_by_role("button", name="Done").click()
    first = other.locator(".answers li").first
    expect(first).to_contain_text("1 of 1 other player gave it too")
    expect(first.locator(".total")).to_have_text("100")
    # One other player is not enough to be named.
    expect(other.get_by_text("at least 3 players")).to_be_visible()
    expect(other.get_by_text("nothing else")).to_have_count(0)
    other.context.close()


def test_by_keyboard_alone_until_time_is_up(player: Page) -> None:
    player.clock.install()  # the browser's; the site's is its own
    begin(player, "meronyms")
    boxes = player.locator(".boxes input")
    expect(boxes).to_have_count(1)
    expect(boxes.first).to_be_focused()
    type_answers(player, ["one"], key="Tab")
    expect(boxes).to_have_count(2)
    expect(boxes.nth(1)).to_be_focused()
    type_answers(player, ["two"])
    player.keyboard.press("Shift+Tab")
    expect(boxes.nth(1)).to_be_focused()
    player.keyboard.press("Tab")
    player.keyboard.insert_text("three")
    player.clock.run_for(21_000)
    # Nobody pressed Done: the browser sent the answers when its clock was out.
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()
    assert player.locator(".answers .text").all_inner_texts()[:3] == ["one", "two", "three"]
    expect(player.get_by_role("button", name="Next word")).to_be_focused()
    player.keyboard.press("Enter")
    player.wait_for_selector(".question")
    before = player.url
    skip(player)
    assert player.url != before


def test_without_a_clock(player: Page) -> None:
    begin(player, "hyponyms", untimed=True)
    one_by_one(player)
    expect(player.get_by_role("timer")).to_have_count(0)
    player.keyboard.press("Tab")  # an empty box holds nobody
    expect(player.get_by_role("button", name="Done")).to_be_focused()
    player.keyboard.press("Shift+Tab")
    type_answers(player, ["one", "two"])
    player.keyboard.press("Enter")  # an empty box: that was all
    expect(player.get_by_role("button", name="Done")).to_be_focused()
    player.keyboard.press("Enter")
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()


def test_a_reload_buys_neither_time_nor_another_word(player: Page) -> None:
    asked = begin(player, "meronyms")
    left = float(player.locator(".clock").get_attribute("data-left") or 0)
    player.reload()
    assert word(player) == asked
    assert float(player.locator(".clock").get_attribute("data-left") or 0) < left


def test_nym_or_not_with_three_keys(player: Page) -> None:
    player.goto("/nyms/nym-or-not/")
    player.get_by_label("Without a clock").check()
    player.get_by_role("button", name="Start").click()
    player.get_by_role("button", name="I agree").click()
    player.locator(".pairs.one-by-one").wait_for()
    shown = player.locator(".pairs li:visible")
    expect(shown).to_have_count(1)
    first = shown.inner_text()
    player.keyboard.press("y")
    expect(player.locator("#count")).to_have_text("2 of 25")
    player.keyboard.press("z")
    assert shown.inner_text() == first
    for key in "n" + "y" * 24:
        player.keyboard.press(key)
    expect(player.get_by_role("heading", name="point")).to_be_visible()
    said = player.locator(".votes td:nth-child(2)").all_inner_texts()
    assert said == ["no"] + ["yes"] * 24
    assert points(player) > 0


def play_quickly(page: Page, rounds: int) -> None:
    """Rounds of the page's player without looking at them: the same requests, no pages drawn."""
    sender = page.context.request
    token: dict[str, str | float | bool] = {
        "csrfmiddlewaretoken": page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    }
    for turn in range(rounds):
        opened = sender.post("/nyms/play/", form=token)
        done = sender.post(opened.url, form=token | {"answer": f"answer {turn}"})
        assert done.ok and "Your answers" in done.text()


def test_ten_rounds_lead_to_the_board(player: Page) -> None:
    begin(player, "meronyms")
    play_quickly(player, 10)
    player.goto("/nyms/leaders/")
    expect(player.get_by_text("You would be number")).to_be_visible()
    sign_up(player, "dora")
    player.goto("/nyms/leaders/")
    expect(player.get_by_role("row", name="dora (you)")).to_be_visible()
    player.get_by_role("link", name="Rounds", exact=True).click()
    expect(player.get_by_role("row", name="dora (you) 10")).to_be_visible()
    assert "board=rounds" in player.url


def test_a_guest_keeps_what_they_played_exports_it_and_goes(player: Page, tmp_path: Path) -> None:
    begin(player, "synonyms", untimed=True)
    type_answers(player, ["remember me"])
    player.get_by_role("button", name="Done").click()
    sign_up(player, "emil")
    player.get_by_role("link", name="My rounds").click()
    expect(player.locator(".history")).to_contain_text("remember me")
    with player.expect_download() as started:
        player.get_by_role("link", name="Export my plays").click()
    started.value.save_as(tmp_path / "plays.json")
    plays = json.loads((tmp_path / "plays.json").read_text(encoding="utf-8"))
    assert plays["rounds"][0]["answers"][0]["answer"] == "remember me"
    player.get_by_role("link", name="Delete me").click()
    player.get_by_label("password").fill(PASSWORD)
    player.get_by_role("button", name="Delete me").click()
    expect(player.get_by_text("You are deleted")).to_be_visible()
    player.goto("/sign-in/")
    player.get_by_label("name").fill("emil")
    player.get_by_label("password").fill(PASSWORD)
    player.get_by_role("button", name="Sign in").click()
    expect(player.get_by_role("heading", name="Sign in")).to_be_visible()


def test_without_scripts_up_to_the_timer(browser: Browser, site: str) -> None:
    page = visitor(browser, site, java_script_enabled=False).new_page()
    page.goto(f"{site}/nyms/")
    begin(page, "hyponyms", untimed=True)
    boxes = page.locator(".boxes input")
    expect(boxes).to_have_count(8)
    boxes.nth(0).fill("one")
    boxes.nth(1).fill("two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your answers")).to_be_visible()
    assert page.locator(".answers .text").all_inner_texts()[:2] == ["one", "two"]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(browser: Browser, site: str, scheme: str) -> None:
    """axe finds nothing serious, and no page is wider than a small telephone."""
    page = visitor(
        browser, site, color_scheme=scheme, viewport={"width": 360, "height": 740}
    ).new_page()
    axe = Axe()

    def check(name: str) -> None:
        found = [
            f"{name}: {rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
            for rule in axe.run(page).response["violations"]
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert not found, "\n".join(found)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"

    page.goto("/nyms/")
    check("home")
    choose(page, "hyponyms", untimed=True)
    check("notice")
    page.get_by_role("button", name="I agree").click()
    type_answers(page, ["one", "a much longer answer of many words", "shrimp"])
    check("round")
    page.get_by_role("button", name="Done").click()
    check("result")
    page.get_by_role("link", name="Challenge this").first.click()
    check("challenge")
    page.get_by_label("A sentence").fill("This is a sentence that shows it.")
    page.get_by_role("button", name="Send").click()
    check("challenges")
    page.goto("/nyms/nym-or-not/")
    check("nym or not")
    page.get_by_label("Without a clock").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".pairs.one-by-one").wait_for()
    check("pairs")
    page.keyboard.press("y")
    page.get_by_role("button", name="Done").click()
    check("votes")
    paths = ["nyms/leaders/", "nyms/leaders/?board=hardest", "nyms/history/", "account/"]
    for path in [*paths, "sign-up/", "sign-in/", "account/delete/", "nowhere/"]:
        page.goto(f"/{path}")
        check(path)
    page.context.close()
