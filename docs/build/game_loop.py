"""The loop for its pictures: a player of one taste, whose model the site's own worker trains.

The player grew up by the sea and thinks of it at every word. Their model learns from the rounds in
`LEARNT`, and is then asked about the words in `HELD_OUT`. All of it is made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLAYER = "kira"
Rounds = Mapping[tuple[str, str], str]
LEARNT: Rounds = {
    ("hyponyms", "fish"): "herring cod mackerel eel plaice",
    ("hyponyms", "vehicle"): "boat ferry ship trawler canoe",
    ("hyponyms", "worker"): "sailor fisherman diver docker pilot",
    ("hyponyms", "building"): "lighthouse boathouse harbour shed chapel",
    ("hyponyms", "garment"): "oilskin jersey scarf apron",
    ("hyponyms", "weather"): "storm fog gale rain",
    ("hyponyms", "wind"): "gale breeze storm squall",
    ("hyponyms", "sport"): "sailing rowing swimming surfing diving",
    ("hyponyms", "trade"): "fishing sailing boatbuilding diving",
    ("hyponyms", "container"): "barrel crate net bucket",
    ("hyponyms", "shoe"): "boot clog sandal wader",
    ("hyponyms", "hat"): "cap sou'wester beanie",
    ("hyponyms", "meal"): "chowder herring mussels stew",
    ("hyponyms", "soup"): "chowder bisque fish",
    ("hyponyms", "stone"): "pebble shingle flint slate",
    ("hyponyms", "light"): "lighthouse lantern beacon lamp",
    ("hyponyms", "song"): "shanty hymn ballad",
    ("hyponyms", "rope"): "sheet halyard line cable",
    ("hyponyms", "knot"): "bowline reef hitch sheepshank",
    ("hyponyms", "structure"): "pier dock lighthouse jetty",
    ("meronyms", "ship"): "mast anchor hull deck sail",
    ("meronyms", "harbor"): "pier boat dock crane",
    ("meronyms", "coast"): "beach cliff dune bay",
    ("meronyms", "fish"): "fin gill scale tail",
    ("meronyms", "town"): "harbour church pier market",
    ("meronyms", "house"): "roof lamp door stove",
}
HELD_OUT: Rounds = {
    ("hyponyms", "boat"): "ferry trawler canoe dinghy",
    ("hyponyms", "mammal"): "whale seal dolphin otter",
    ("hyponyms", "tower"): "lighthouse church mast",
    ("meronyms", "boat"): "mast anchor oar hull sail",
    ("hyponyms", "bird"): "gull puffin tern heron albatross",
}
"""Played after the training, one by one; the last one is in the picture."""


def seed(password: str) -> None:
    """The player, and the rounds that their model will learn from."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game import consent, rounds
    from idiolect.web.game.models import Round, Word

    player = User.objects.create_user(PLAYER, password)
    consent.record_consent(player)
    for (relation, base), said in LEARNT.items():
        word, _ = Word.objects.get_or_create(relation=relation, base=base)
        made = Round.objects.create(player=player, word=word, difficulty=0.5)
        rounds.submit_answers(player, made.pk, said.split())


def train(page: Page, take: Any) -> None:
    """Press the button and wait for the end; pictures before and on the way."""
    page.goto("/nyms/my-model/")
    take("my-model-ready")
    page.get_by_role("button", name="Train my model").click()
    page.locator("#own-model progress").wait_for()
    while page.evaluate("document.querySelector('#own-model progress')?.value ?? 100") < 30:
        page.wait_for_timeout(500)
    take("my-model-training")
    page.get_by_text("It learnt from").wait_for()


def play(page: Page, opened: Any) -> str:
    """Play the words that were held out; the address of the last result, with what the model says
    of it."""
    for (relation, base), said in HELD_OUT.items():
        opened(PLAYER, relation, base)
        page.goto("/nyms/")
        page.get_by_role("button", name="Play").click()
        page.locator(".one-by-one").wait_for()
        for answer in said.split():
            page.keyboard.type(answer)
            page.keyboard.press("Enter")
        page.get_by_role("button", name="Done").click()
        page.get_by_role("heading", name="What it would have answered").wait_for()
    return page.url


def pictures(page: Page, address: str, take: Any, *, model: bool = True) -> None:
    """Of the result and of the model's own page."""
    page.goto(address)
    page.get_by_role("heading", name="What it would have answered").wait_for()
    take("result-own-model")
    if model:
        page.goto("/nyms/my-model/")
        page.get_by_role("heading", name="How well it knows your nyms").wait_for()
        take("my-model")


def told() -> str:
    """What the pages say, in one line: for whoever takes the pictures."""
    from idiolect.web.models import Job
    from idiolect.web.my_model import service
    from idiolect.web.my_model.models import OwnModel

    asked = Job.objects.filter(kind=service.PREDICT_JOB, ended_at__isnull=False).order_by("made_at")
    waits = [f"{(job.ended_at - job.made_at).total_seconds():.0f}" for job in asked if job.ended_at]
    model = OwnModel.objects.get(player__username=PLAYER)
    known = service.summarize_accuracy(model)
    return (
        f"{model.rounds} rounds with {model.answers} answers learnt; of {known.answers} answers in "
        f"{known.rounds} other rounds {known.own_percent} % were among the ten likeliest, "
        f"{known.plain_percent} % without the player; seconds to what it says: {', '.join(waits)}"
    )
