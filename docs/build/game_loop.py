"""A made-up player with a model of their own, for the pictures of the model's pages.

The player grew up by the sea, and most of their answers are about it. The site's worker trains
their model on the rounds in `LEARNED`; the model then predicts their answers to the words in
`HELD_OUT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLAYER = "kira"
Rounds = Mapping[tuple[str, str], str]
LEARNED: Rounds = {
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
"""Rounds played after the training, one by one; the picture shows the last one."""


def create_player(password: str) -> None:
    """Creates the player and the rounds that their model learns from."""
    from idiolect.web.accounts.models import User
    from idiolect.web.game import consent, rounds
    from idiolect.web.game.models import Round, Word

    player = User.objects.create_user(PLAYER, password)
    consent.record_consent(player)
    for (relation, base), answers in LEARNED.items():
        word, _ = Word.objects.get_or_create(relation=relation, base=base)
        round_ = Round.objects.create(player=player, word=word, difficulty=0.5)
        rounds.submit_answers(player, round_.pk, answers.split())


def train_model(page: Page, take: Any) -> None:
    """Starts the training and waits for its end; takes pictures before and during the training."""
    page.goto("/nyms/my-model/")
    take("my-model-ready")
    page.get_by_role("button", name="Train my model").click()
    page.locator("#own-model progress").wait_for()
    while page.evaluate("document.querySelector('#own-model progress')?.value ?? 100") < 30:
        page.wait_for_timeout(500)
    take("my-model-training")
    page.get_by_text("Your model learned from").wait_for()


def play_held_out_words(page: Page, assign_word: Any) -> str:
    """Plays the held-out words and waits for each prediction; returns the URL of the last result.

    ``assign_word`` takes a player, a relation and a base word.
    """
    for (relation, base), answers in HELD_OUT.items():
        assign_word(PLAYER, relation, base)
        page.goto("/nyms/")
        page.get_by_role("button", name="Play").click()
        page.locator(".one-by-one").wait_for()
        for answer in answers.split():
            page.keyboard.type(answer)
            page.keyboard.press("Enter")
        page.get_by_role("button", name="Done").click()
        page.get_by_role("heading", name="What it would have answered").wait_for()
    return page.url


def take_pictures(page: Page, address: str, take: Any, *, model: bool = True) -> None:
    """Takes pictures of the result at ``address`` and, with ``model``, of the model's page."""
    page.goto(address)
    page.get_by_role("heading", name="What it would have answered").wait_for()
    take("result-own-model")
    if model:
        page.goto("/nyms/my-model/")
        page.get_by_role("heading", name="How well it knows your nyms").wait_for()
        take("my-model")


def summarize_model() -> str:
    """Returns the model's accuracy and the seconds per prediction, in one line."""
    from idiolect.web.models import Job
    from idiolect.web.my_model import service
    from idiolect.web.my_model.models import OwnModel

    jobs = Job.objects.filter(kind=service.PREDICT_JOB, ended_at__isnull=False).order_by("made_at")
    waits = [f"{(job.ended_at - job.made_at).total_seconds():.0f}" for job in jobs if job.ended_at]
    model = OwnModel.objects.get(player__username=PLAYER)
    known = service.summarize_accuracy(model)
    return (
        f"learned from {model.answers} answers in {model.rounds} rounds; "
        f"of {known.answers} answers in {known.rounds} other rounds, "
        f"{known.own_percent} % were among the ten likeliest, "
        f"{known.plain_percent} % without the adapter; seconds per prediction: {', '.join(waits)}"
    )
