"""Accessibility tests of the pages of a player's own model, in a browser, light and dark.

A script fills the site's database first; nothing is trained here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support.game_browser import PASSWORD, check_accessibility, launch_chromium, open_context
from support.game_live_server import CHROMIUM, serve_site

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)
SEED = f"""
from datetime import timedelta
from django.utils import timezone
from idiolect.web.run import prepare_site
prepare_site()
from idiolect.web.game import consent, rounds
from idiolect.web.game.models import Round, Word
from idiolect.web.my_model import service
from idiolect.web.my_model.models import OwnModel, PredictedAnswers
from idiolect.web.accounts.models import User
from idiolect.web.models import Job

def player(name):
    made = User.objects.create_user(name, {PASSWORD!r})
    consent.record_consent(made)
    for number in range(20):
        word, _ = Word.objects.get_or_create(relation="hyponyms", base=f"word{{number}}")
        open_ = Round.objects.create(player=made, word=word, difficulty=0.5)
        last = rounds.submit_answers(made, open_.pk, ["shrimp", "lobster"])
    return made, last

def job(owner, **how):
    Job.objects.create(kind=service.TRAIN_JOB, owner=owner, worker="w", **how)

player("ready")
later = timezone.now() + timedelta(minutes=50)
job(player("learning")[0], state="running", share=0.4, lease_until=later)
job(player("failed")[0], state="failed", problem="There is too little memory.")
known, last = player("known")
before = timezone.now() - timedelta(days=1)
OwnModel.objects.create(player=known, trained_at=before, rounds=20, answers=40)
PredictedAnswers.objects.create(round=last, own=["crab", "shrimps"], plain=["crab"], answers=2,
                                own_found=1, plain_found=0)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with four players whose models are in four different states."""
    folder = tmp_path_factory.mktemp("loop")
    here = {"IDIOLECT_HOME": str(folder), "DJANGO_SETTINGS_MODULE": "idiolect.web.settings"}
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | here
    subprocess.run([sys.executable, "-c", SEED], env=environment, check=True)
    with serve_site(Path(folder)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with launch_chromium() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_model_pages_are_accessible_and_fit_small_screens(
    browser: Browser, site: str, scheme: str
) -> None:
    for name in ("ready", "learning", "failed", "known"):
        narrow = {"width": 360, "height": 740}
        page = open_context(browser, site, color_scheme=scheme, viewport=narrow).new_page()
        page.goto("/sign-in/?next=/nyms/my-model/")
        page.get_by_label("name").fill(name)
        page.get_by_label("password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        # Each state has its own element, which shows that the page is complete.
        bar = page.get_by_role("progressbar", name="Training of your model")
        match name:
            case "learning":
                expect(bar).to_have_attribute("value", "40")
            case "failed":
                expect(page.get_by_text("There is too little memory.")).to_be_visible()
            case _:
                expect(page.get_by_role("button", name="Train")).to_be_visible()
        check_accessibility(page, name)
        # Only a trained model has predictions on a result page.
        if name == "known":
            expect(page.get_by_text("50 %")).to_be_visible()
            page.goto("/nyms/history/")
            page.get_by_role("link", name="word19").click()
            expect(page.get_by_role("heading", name="What it would have answered")).to_be_visible()
            expect(page.locator(".guesses .yours")).to_have_text(["shrimps (yours too)"])
            check_accessibility(page, "result")
        page.context.close()
