"""Takes the pictures of the game in `docs/pictures/nyms/` with Chromium.

    python docs/build/game_pictures.py [--out FOLDER] [--only NAME ...]

Starts a temporary site on which made-up players have played. One of them trains a model on the
default base model, which takes a few minutes. Requires Chromium.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import game_loop  # noqa: E402

from suites.game.site import CHROMIUM, SiteProcess  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "correct horse battery"
NAMES = ["ada", "bruno", "chloe", "dmitri", "esi", "farid", "greta", "hiro", "ines", "jonas"]
ANSWER_SHARES = {
    ("hyponyms", "fruit"): {
        "apple": 0.9,
        "banana": 0.85,
        "orange": 0.7,
        "pear": 0.6,
        "grape": 0.5,
        "cherry": 0.4,
        "mango": 0.35,
        "kiwi": 0.3,
        "plum": 0.3,
        "lemon": 0.3,
        "tomato": 0.15,
    },
    ("meronyms", "bicycle"): {
        "wheel": 0.9,
        "pedal": 0.8,
        "chain": 0.7,
        "saddle": 0.6,
        "handlebar": 0.6,
        "brake": 0.5,
        "bell": 0.3,
        "frame": 0.3,
    },
    ("antonyms", "early"): {"late": 1.0, "tardy": 0.4, "overdue": 0.2},
    ("synonyms", "happy"): {"glad": 0.8, "cheerful": 0.6, "joyful": 0.5, "merry": 0.3},
}
"""The made-up players' answers to each (relation, base word), with the share who give them."""


def create_players() -> None:
    """Fills the site's database with players and rounds."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game import consent, rounds
    from idiolect.web.game.models import Round, Word

    draw = Random(0)
    for name in NAMES:
        player = User.objects.create_user(name, PASSWORD)
        consent.record_consent(player)
        # The leaderboard of averages requires ten rounds; each player plays twelve.
        for turn in range(3):
            for (relation, base), shares in ANSWER_SHARES.items():
                word, _ = Word.objects.get_or_create(relation=relation, base=base)
                round_ = Round.objects.create(player=player, word=word, difficulty=0.5)
                answers = [answer for answer, share in shares.items() if draw.random() < share]
                rounds.submit_answers(player, round_.pk, answers[: 6 + turn])


def assign_word(name: str, relation: str, base: str) -> None:
    """Opens a timed round on this word for a player, in place of their open round."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game.models import Round, State, Word

    player = User.objects.get(username=name)
    Round.objects.filter(player=player, state=State.OPEN).update(state=State.LAPSED)
    word, _ = Word.objects.get_or_create(relation=relation, base=base)
    Round.objects.create(player=player, word=word, difficulty=0.5)


class Album:
    """Takes pictures of one browser window and saves them as small PNG files."""

    def __init__(self, page: Page, folder: Path, suffix: str, only: set[str]) -> None:
        self.page, self._folder, self._suffix, self._only = page, folder, suffix, only

    def wants(self, name: str) -> bool:
        """Returns whether to take this picture."""
        return not self._only or name in self._only

    def take(self, name: str) -> None:
        """Saves a picture of the whole page as ``name``, with 128 colors."""
        from PIL import Image

        if not self.wants(name):
            return
        # A palette keeps the files small.
        shot = Image.open(BytesIO(self.page.screenshot(full_page=True)))
        small = shot.convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
        small.save(self._folder / f"{name}{self._suffix}.png", optimize=True)


def open_window(
    browser: Browser,
    site: SiteProcess,
    folder: Path,
    only: set[str],
    *,
    dark: bool = False,
    narrow: bool = False,
) -> Album:
    """Opens a new browser window, signed out."""
    context = browser.new_context(
        base_url=site.address,
        reduced_motion="reduce",
        color_scheme="dark" if dark else "light",
        viewport={"width": 360, "height": 740} if narrow else {"width": 1000, "height": 700},
    )
    context.set_default_timeout(600_000)  # training takes minutes on a busy machine
    suffix = ("-dark" if dark else "") + ("-360" if narrow else "")
    return Album(context.new_page(), folder, suffix, only)


def sign_in(page: Page, name: str) -> None:
    """Signs in as one of the made-up players."""
    page.goto("/sign-in/")
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/nyms/")


def visit_pages(album: Album, player: str) -> None:
    """Visits each page once as the player and takes its picture."""
    page = album.page
    # Pages for visitors.
    page.goto("/nyms/")
    album.take("home")
    page.goto("/nyms/notice/")
    album.take("notice")
    page.goto("/sign-up/")
    album.take("sign-up")
    sign_in(page, player)

    # A round, its result and a challenge.
    run_in_thread(assign_word, player, "hyponyms", "fruit")
    page.goto("/nyms/")
    page.get_by_role("button", name="Play").click()
    page.locator(".one-by-one").wait_for()
    for answer in ("apple", "pears", "wheelbarrow"):
        page.keyboard.type(answer)
        page.keyboard.press("Enter")
    page.keyboard.type("mang")
    album.take("round")
    page.keyboard.type("o")
    page.get_by_role("button", name="Done").click()
    album.take("result")
    if album.wants("challenge"):
        page.get_by_role("link", name="Challenge this for wheelbarrow").click()
        album.take("challenge")
        page.get_by_label("A sentence").fill("A wheelbarrow is a kind of fruit in my garden.")
        page.get_by_role("button", name="Send").click()
        album.take("challenges")

    # A game of Nym or Not.
    page.goto("/nyms/nym-or-not/")
    album.take("nym-or-not-start")
    page.get_by_role("button", name="Start").click()
    page.locator(".one-by-one").wait_for()
    page.keyboard.press("y")
    album.take("nym-or-not")
    for key in "ynyynynyny":
        page.keyboard.press(key)
    page.get_by_role("button", name="Done").click()
    album.take("nym-or-not-result")

    # The other pages.
    for name, path in {
        "leaders": "nyms/leaders/",
        "hardest-words": "nyms/leaders/?board=hardest",
        "history": "nyms/history/",
        "my-model-missing": "nyms/my-model/",
        "account": "account/",
        "delete-me": "account/delete/",
    }.items():
        if album.wants(name):
            page.goto(f"/{path}")
            album.take(name)


MODEL_PICTURES = {"my-model-ready", "my-model-training", "my-model", "result-own-model"}


def take_model_pictures(browser: Browser, site: SiteProcess, folder: Path, only: set[str]) -> None:
    """Trains a player's model with the site's worker and takes pictures of its pages."""
    album = open_window(browser, site, folder, only)
    sign_in(album.page, game_loop.PLAYER)
    game_loop.train_model(album.page, album.take)
    address = game_loop.play_held_out_words(
        album.page, lambda *word: run_in_thread(assign_word, *word)
    )
    for options in ({}, {"narrow": True}, {"dark": True}):
        window = open_window(browser, site, folder, only, **options)
        sign_in(window.page, game_loop.PLAYER)
        game_loop.take_pictures(window.page, address, window.take)
    print(run_in_thread(game_loop.summarize_model))


def run_in_thread(function: Any, *arguments: Any) -> Any:
    """Calls a function that uses the database in another thread.

    Django refuses database access in a thread with a running event loop, and Playwright has one.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Starts the site and takes all pictures, or those named with ``--only``."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "nyms")
    options.add_argument("--only", nargs="*", default=[])
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if CHROMIUM is None:
        raise SystemExit("this script needs Chromium; install it (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="nyms-pictures-") as folder:
        # Django reads these variables on import.
        os.environ["IDIOLECT_HOME"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "idiolect.web.settings"
        from idiolect.web.run import prepare_site

        prepare_site()
        create_players()
        game_loop.create_player(PASSWORD)
        with SiteProcess(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            only = set(chosen.only)
            # Training takes minutes, so train only if one of its pictures is wanted.
            if not only or only & MODEL_PICTURES:
                take_model_pictures(browser, site, chosen.out, only)
            if only and only <= MODEL_PICTURES:
                return
            # All pages in a wide window; the most important ones also narrow and dark.
            visit_pages(open_window(browser, site, chosen.out, only), "ada")
            some = {"home", "round", "result", "nym-or-not"}
            narrow = only or {*some, "leaders", "history", "notice"}
            visit_pages(open_window(browser, site, chosen.out, narrow, narrow=True), "bruno")
            visit_pages(open_window(browser, site, chosen.out, only or some, dark=True), "chloe")


if __name__ == "__main__":
    main()
