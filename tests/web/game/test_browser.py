"""End-to-end tests of whole games: Chromium with keyboard and mouse, against a served site.

They test only what a player sees. The only access to the database gives two players the same word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.game_browser import PASSWORD, check_accessibility, launch_chromium, open_context
from support.game_live_server import CHROMIUM, repeat_word, serve_site

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)
expect.set_options(timeout=20_000)  # A slow machine must not fail a test.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site's data."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """The address of a new site."""
    with serve_site(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with launch_chromium() as chromium:
        yield chromium


@pytest.fixture
def player(browser: Browser, site: str) -> Iterator[Page]:
    """The home page as a new visitor sees it."""
    with open_context(browser, site).new_page() as page:
        page.goto("/")
        yield page
    page.context.close()


def choose_relations(page: Page, *relations: str, untimed: bool = False) -> None:
    """Checks these relations and no others on the home page, and presses Play."""
    for box in page.locator("input[name=relation]").all():
        box.set_checked(box.get_attribute("value") in relations)
    page.locator("input[name=untimed]").set_checked(untimed)
    page.get_by_role("button", name="Play").click()


def begin_round(page: Page, *relations: str, untimed: bool = False) -> str:
    """Agrees to the notice as a new visitor and starts a round; returns the word."""
    choose_relations(page, *relations, untimed=untimed)
    page.get_by_role("button", name="I agree").click()
    return read_word(page)


def read_word(page: Page) -> str:
    """Reads the word of the open round."""
    return page.locator(".question strong").inner_text()


def wait_for_script(page: Page) -> None:
    """Waits until the page's script handles keys; earlier keys would go to the browser."""
    page.locator(".boxes.one-by-one").wait_for()


def type_answers(page: Page, answers: list[str], key: str = "Enter") -> None:
    """Types one answer per box with the keyboard."""
    wait_for_script(page)
    for answer in answers:
        page.keyboard.insert_text(answer)
        page.keyboard.press(key)


def sign_up(page: Page, name: str) -> None:
    """Signs the guest up with this name."""
    page.goto("/sign-up/")
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text(f"Welcome, {name}")).to_be_visible()


def read_points(page: Page) -> int:
    """Reads the score on a result page."""
    return int(page.locator(".score .points").inner_text())


def skip_round(page: Page) -> str:
    """Presses Escape; returns the next word."""
    wait_for_script(page)
    before = page.url
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: url != before)
    return read_word(page)


def test_round_page_scores_two_players_against_each_other(
    browser: Browser, site: str, folder: Path, player: Page
) -> None:
    asked = begin_round(player, "antonyms", untimed=True)
    type_answers(player, ["unheard of thing", "nothing else"])
    player.get_by_role("button", name="Done").click()
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()
    assert read_points(player) >= 40  # The bonus for a word that no one has played.

    # A second player gets the same word and agrees with one answer.
    other = open_context(browser, site).new_page()
    other.goto("/")
    begin_round(other, "antonyms", untimed=True)
    repeat_word(folder)
    other.reload()
    assert read_word(other) == asked
    type_answers(other, ["unheard-of things", "mine"])
    other.get_by_role("button", name="Done").click()
    first = other.locator(".answers li").first
    expect(first).to_contain_text("1 of 1 other player gave it too")
    expect(first.locator(".total")).to_have_text("100")
    # The page shows an answer only after three players gave it.
    expect(other.get_by_text("at least 3 players")).to_be_visible()
    expect(other.get_by_text("nothing else")).to_have_count(0)
    other.context.close()


def test_round_page_works_by_keyboard_until_time_ends(player: Page) -> None:
    player.clock.install()  # Only the browser's clock; the site has its own.
    begin_round(player, "meronyms")
    # Tab and Enter add a box, and Shift+Tab goes back to the last one.
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
    # The browser sends the answers when the time is over, without a click on Done.
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()
    assert player.locator(".answers .text").all_inner_texts()[:3] == ["one", "two", "three"]
    expect(player.get_by_role("button", name="Next word")).to_be_focused()
    # The keyboard also starts and skips the next round.
    player.keyboard.press("Enter")
    player.wait_for_selector(".question")
    before = player.url
    skip_round(player)
    assert player.url != before


def test_round_page_untimed_has_no_clock(player: Page) -> None:
    begin_round(player, "hyponyms", untimed=True)
    wait_for_script(player)
    expect(player.get_by_role("timer")).to_have_count(0)
    player.keyboard.press("Tab")  # Tab leaves an empty box.
    expect(player.get_by_role("button", name="Done")).to_be_focused()
    player.keyboard.press("Shift+Tab")
    type_answers(player, ["one", "two"])
    player.keyboard.press("Enter")  # Enter in an empty box moves the focus to Done.
    expect(player.get_by_role("button", name="Done")).to_be_focused()
    player.keyboard.press("Enter")
    expect(player.get_by_role("heading", name="Your answers")).to_be_visible()


def test_round_page_reload_keeps_word_and_clock(player: Page) -> None:
    asked = begin_round(player, "meronyms")
    left = float(player.locator(".clock").get_attribute("data-left") or 0)
    player.reload()
    assert read_word(player) == asked
    assert float(player.locator(".clock").get_attribute("data-left") or 0) < left


def test_pairs_page_takes_votes_by_three_keys(player: Page) -> None:
    player.goto("/nyms/nym-or-not/")
    player.get_by_label("Without a clock").check()
    player.get_by_role("button", name="Start").click()
    player.get_by_role("button", name="I agree").click()
    player.locator(".pairs.one-by-one").wait_for()
    shown = player.locator(".pairs li:visible")
    expect(shown).to_have_count(1)
    first = shown.inner_text()
    # Y votes, and Z goes back to the same pair.
    player.keyboard.press("y")
    expect(player.locator("#count")).to_have_text("2 of 25")
    player.keyboard.press("z")
    assert shown.inner_text() == first
    for key in "n" + "y" * 24:
        player.keyboard.press(key)
    expect(player.get_by_role("heading", name="point")).to_be_visible()
    said = player.locator(".votes td:nth-child(2)").all_inner_texts()
    assert said == ["no"] + ["yes"] * 24
    assert read_points(player) > 0


def play_rounds_quickly(page: Page, rounds: int) -> None:
    """Plays rounds as the page's player with plain requests, which is faster than rendering."""
    sender = page.context.request
    token: dict[str, str | float | bool] = {
        "csrfmiddlewaretoken": page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    }
    for turn in range(rounds):
        opened = sender.post("/nyms/play/", form=token)
        done = sender.post(opened.url, form=token | {"answer": f"answer {turn}"})
        assert done.ok and "Your answers" in done.text()


def test_leaderboard_page_lists_player_after_ten_rounds(player: Page) -> None:
    begin_round(player, "meronyms")
    play_rounds_quickly(player, 10)
    player.goto("/nyms/leaders/")
    expect(player.get_by_text("You would be number")).to_be_visible()
    # A guest has a rank, but appears on the board only with a name.
    sign_up(player, "dora")
    player.goto("/nyms/leaders/")
    expect(player.get_by_role("row", name="dora (you)")).to_be_visible()
    player.get_by_role("link", name="Rounds", exact=True).click()
    expect(player.get_by_role("row", name="dora (you) 10")).to_be_visible()
    assert "board=rounds" in player.url


def test_sign_up_keeps_guest_plays_for_export_and_deletion(player: Page, tmp_path: Path) -> None:
    begin_round(player, "synonyms", untimed=True)
    type_answers(player, ["remember me"])
    player.get_by_role("button", name="Done").click()
    sign_up(player, "emil")
    player.get_by_role("link", name="My rounds").click()
    expect(player.locator(".history")).to_contain_text("remember me")
    # The export has the answers that the player gave as a guest.
    with player.expect_download() as started:
        player.get_by_role("link", name="Export my plays").click()
    started.value.save_as(tmp_path / "plays.json")
    plays = json.loads((tmp_path / "plays.json").read_text(encoding="utf-8"))
    assert plays["rounds"][0]["answers"][0]["answer"] == "remember me"
    # After the deletion the player cannot sign in again.
    player.get_by_role("link", name="Delete me").click()
    player.get_by_label("password").fill(PASSWORD)
    player.get_by_role("button", name="Delete me").click()
    expect(player.get_by_text("You are deleted")).to_be_visible()
    player.goto("/sign-in/")
    player.get_by_label("name").fill("emil")
    player.get_by_label("password").fill(PASSWORD)
    player.get_by_role("button", name="Sign in").click()
    expect(player.get_by_role("heading", name="Sign in")).to_be_visible()


def test_round_page_works_without_scripts(browser: Browser, site: str) -> None:
    page = open_context(browser, site, java_script_enabled=False).new_page()
    page.goto(f"{site}/nyms/")
    begin_round(page, "hyponyms", untimed=True)
    boxes = page.locator(".boxes input")
    expect(boxes).to_have_count(8)
    # Enter submits the plain form.
    boxes.nth(0).fill("one")
    boxes.nth(1).fill("two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your answers")).to_be_visible()
    assert page.locator(".answers .text").all_inner_texts()[:2] == ["one", "two"]
    page.context.close()


def test_question_and_pair_with_long_words_fit_small_screens(browser: Browser, site: str) -> None:
    page = open_context(browser, site, viewport={"width": 360, "height": 740}).new_page()
    page.goto("/nyms/")
    begin_round(page, "antonyms", untimed=True)
    wait_for_script(page)
    check_longest_word_fits(page, ".question strong")
    # The script shows pairs in larger type than the plain form.
    page.goto("/nyms/nym-or-not/")
    page.get_by_label("Without a clock").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".pairs.one-by-one").wait_for()
    check_longest_word_fits(page, ".pairs li:first-child legend strong")
    page.context.close()


def check_longest_word_fits(page: Page, selector: str) -> None:
    """Puts a very long word at ``selector`` and asserts that the page fits the window."""
    for element in page.locator(selector).all():
        element.evaluate("element => element.textContent = 'indistinguishability'")
    excess = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert excess <= 0, f"{selector} makes the page {excess} pixels too wide"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_and_fit_small_screens(
    browser: Browser, site: str, scheme: str
) -> None:
    page = open_context(
        browser, site, color_scheme=scheme, viewport={"width": 360, "height": 740}
    ).new_page()

    # A round, from the home page to a challenge of one of its answers.
    page.goto("/nyms/")
    check_accessibility(page, "home")
    choose_relations(page, "hyponyms", untimed=True)
    check_accessibility(page, "notice")
    page.get_by_role("button", name="I agree").click()
    type_answers(page, ["one", "a much longer answer of many words", "shrimp"])
    check_accessibility(page, "round")
    page.get_by_role("button", name="Done").click()
    check_accessibility(page, "result")
    page.get_by_role("link", name="Challenge this").first.click()
    check_accessibility(page, "challenge")
    page.get_by_label("A sentence").fill("This is a sentence that shows it.")
    page.get_by_role("button", name="Send").click()
    check_accessibility(page, "challenges")

    # A game of Nym or Not.
    page.goto("/nyms/nym-or-not/")
    check_accessibility(page, "nym or not")
    page.get_by_label("Without a clock").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".pairs.one-by-one").wait_for()
    check_accessibility(page, "pairs")
    page.keyboard.press("y")
    page.get_by_role("button", name="Done").click()
    check_accessibility(page, "votes")

    # All other pages, with an address that does not exist.
    paths = ["nyms/leaders/", "nyms/leaders/?board=hardest", "nyms/history/", "account/"]
    for path in [*paths, "sign-up/", "sign-in/", "account/delete/", "nowhere/"]:
        page.goto(f"/{path}")
        check_accessibility(page, path)
    page.context.close()
