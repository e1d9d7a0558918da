"""Trains one player's adapter and asks it: the product's own verbs, on one person's history.

Knows a folder and histories; knows no Django. What it is asked must be held out by the caller.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from idiolect import api, tasks
from idiolect.adapters.exchange import base_of
from idiolect.adapters.source import usable_adapter
from idiolect.adapters.store import AdapterStore
from idiolect.config import from_plain
from idiolect.errors import MismatchError
from idiolect.events import Listener, silent
from idiolect.game.rules import accepted
from idiolect.game.slurs import is_slur
from idiolect.generation import Generator
from idiolect.history import History, Interaction, write_dataset
from idiolect.models import Prompter
from idiolect.training.context import Person
from idiolect.training.gate import GateConfig
from idiolect.training.personalize import PersonalConfig
from idiolect.training.schedule import TrainConfig

TASK = "word-relation"
ME = "player"
"""The only name in the folder: it says nothing of whose it is."""
TOP = 10
BEAMS = 24
"""More than are shown: some answers are one word in two spellings, or the base word."""
TOKENS = 6
"""The longest answer that is looked for; words of the game have one to four tokens."""

CONFIG = PersonalConfig(
    # The page shows the plain model beside the own one, so an adapter that does not help is seen.
    gate=GateConfig(on=False),
    # Some hundred answers are few: three rounds over them.
    train=TrainConfig(epochs=3),
)


def train(
    folder: Path,
    history: History,
    *,
    base: str = "default",
    config: PersonalConfig = CONFIG,
    listener: Listener = silent,
) -> None:
    """Make the player's dataset and adapter in ``folder``; again, it trains only what has changed.

    What was killed goes on where it was. An adapter of another base or other settings is replaced.
    """
    data, store = folder / "history", folder / "adapters"
    write_dataset(data, [history], task=TASK, source="the word game", overwrite=True)
    try:
        api.personalize(data, store, base=base, config=config, listener=listener)
    except MismatchError:
        shutil.rmtree(store)
        api.personalize(data, store, base=base, config=config, listener=listener)


class Guesser:
    """One player's model, and the same without them, ready to be asked."""

    def __init__(self, folder: Path, *, base: str | None = None) -> None:
        store = AdapterStore.open(folder / "adapters")
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        loaded = base_of(store, base)
        adapter = usable_adapter(store, ME)
        self._generator = Generator(loaded, {ME: adapter.check(loaded)} if adapter else {})
        prompter = Prompter(loaded.tokenizer, config.prompt)
        self._person = Person(History(ME, ()), tasks.get(TASK), prompter, config.context)

    def answers(self, question: str, base_word: str) -> tuple[list[str], list[str]]:
        """The likeliest answers, at most ten each: the player's model's and the plain one's.

        As answers of players count: normalised, without the base word, one a stem; no slurs.
        """
        query = Interaction(id="asked", position=0, fields={"question": question})
        prompt = self._person.query_prompt(query, room=TOKENS)
        own, plain = self._generator.likeliest(
            [(ME, prompt), ("", prompt)], beams=BEAMS, max_tokens=TOKENS
        )
        return _shown(base_word, own), _shown(base_word, plain)


def _shown(base_word: str, texts: Sequence[str]) -> list[str]:
    return [text for text in accepted(base_word, texts) if not is_slur(text)][:TOP]
