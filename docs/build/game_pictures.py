"""Takes the pictures of the game in `docs/pictures/nyms/`, in Chromium, of a site made up for it.

    python docs/build/game_pictures.py [--out FOLDER] [--only NAME ...]

Invented players play first, so that there is something to see; one of them has a model trained, on
the default base, which takes some minutes. Needs Chromium.
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

from suites.game.site import CHROMIUM, Site  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "correct horse battery"
NAMES = ["ada", "bruno", "chloe", "dmitri", "esi", "farid", "greta", "hiro", "ines", "jonas"]
SAID = {
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
"""What invented players say, and how many of them."""


def seed() -> None:
    """Fill the database of the site with players and rounds."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game import consent, rounds
    from idiolect.web.game.models import Round, Word

    draw = Random(0)
    for name in NAMES:
        player = User.objects.create_user(name, PASSWORD)
        consent.record_consent(player)
        for turn in range(3):
            for (relation, base), said in SAID.items():
                word, _ = Word.objects.get_or_create(relation=relation, base=base)
                made = Round.objects.create(player=player, word=word, difficulty=0.5)
                answers = [answer for answer, share in said.items() if draw.random() < share]
                rounds.submit_answers(player, made.pk, answers[: 6 + turn])


def opened(name: str, relation: str, base: str) -> None:
    """Put a word to a player, whatever they had open; without a clock, for a picture at leisure."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game.models import Round, State, Word

    player = User.objects.get(username=name)
    Round.objects.filter(player=player, state=State.OPEN).update(state=State.LAPSED)
    word, _ = Word.objects.get_or_create(relation=relation, base=base)
    Round.objects.create(player=player, word=word, difficulty=0.5)


class Album:
    """Takes pictures of one browser window and keeps them small."""

    def __init__(self, page: Page, folder: Path, suffix: str, only: set[str]) -> None:
        self.page, self._folder, self._suffix, self._only = page, folder, suffix, only

    def wants(self, name: str) -> bool:
        """Whether the picture was asked for."""
        return not self._only or name in self._only

    def take(self, name: str) -> None:
        """The window's whole page as ``name``, in few colours."""
        from PIL import Image

        if not self.wants(name):
            return
        shot = Image.open(BytesIO(self.page.screenshot(full_page=True)))
        small = shot.convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
        small.save(self._folder / f"{name}{self._suffix}.png", optimize=True)


def window(browser: Browser, site: Site, folder: Path, only: set[str], **how: Any) -> Album:
    """A new browser window, signed out."""
    dark, narrow = how.get("dark", False), how.get("narrow", False)
    context = browser.new_context(
        base_url=site.address,
        reduced_motion="reduce",
        color_scheme="dark" if dark else "light",
        viewport={"width": 360, "height": 740} if narrow else {"width": 1000, "height": 700},
    )
    context.set_default_timeout(180_000)
    suffix = ("-dark" if dark else "") + ("-360" if narrow else "")
    return Album(context.new_page(), folder, suffix, only)


def sign_in(page: Page, name: str) -> None:
    """As one of the invented players."""
    page.goto("/sign-in/")
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/nyms/")


def tour(album: Album, player: str) -> None:
    """Every page once."""
    page = album.page
    page.goto("/nyms/")
    album.take("home")
    page.goto("/nyms/notice/")
    album.take("notice")
    page.goto("/sign-up/")
    album.take("sign-up")
    sign_in(page, player)

    off_the_loop(opened, player, "hyponyms", "fruit")
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


LOOP = {"my-model-ready", "my-model-training", "my-model", "result-own-model"}


def loop(browser: Browser, site: Site, folder: Path, only: set[str]) -> None:
    """A player's model from the button to what it says of a word; trained by the site's worker."""
    album = window(browser, site, folder, only)
    sign_in(album.page, game_loop.PLAYER)
    game_loop.train(album.page, album.take)
    address = game_loop.play(album.page, lambda *word: off_the_loop(opened, *word))
    for how in ({}, {"narrow": True}, {"dark": True}):
        again = window(browser, site, folder, only, **how)
        sign_in(again.page, game_loop.PLAYER)
        game_loop.pictures(again.page, address, again.take)
    print(off_the_loop(game_loop.told))


def off_the_loop(function: Any, *arguments: Any) -> Any:
    """Call what uses the database: Django refuses it in the thread of Playwright's loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Take them all."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "nyms")
    options.add_argument("--only", nargs="*", default=[])
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if CHROMIUM is None:
        raise SystemExit("no Chromium on this machine (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="nyms-pictures-") as folder:
        os.environ["IDIOLECT_HOME"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "idiolect.web.settings"
        from idiolect.web.run import prepare_site

        prepare_site()
        seed()
        game_loop.seed(PASSWORD)
        with Site(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            only = set(chosen.only)
            if not only or only & LOOP:
                loop(browser, site, chosen.out, only)
            if only and only <= LOOP:
                return
            tour(window(browser, site, chosen.out, only), "ada")
            some = {"home", "round", "result", "nym-or-not"}
            narrow = only or {*some, "leaders", "history", "notice"}
            tour(window(browser, site, chosen.out, narrow, narrow=True), "bruno")
            tour(window(browser, site, chosen.out, only or some, dark=True), "chloe")


if __name__ == "__main__":
    main()
