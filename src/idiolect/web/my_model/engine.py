"""Trains one player's adapter and asks it: the product's own verbs, on one person's history.

Knows a folder and histories; knows no Django. What it is asked must be held out by the caller.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from idiolect import api
from idiolect.adapters.formats.exchange import base_of
from idiolect.adapters.store.source import usable_adapter
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.errors import MismatchError, UsageError
from idiolect.events import Listener, silent
from idiolect.game.profanity import is_slur
from idiolect.game.rules.answers import filter_accepted
from idiolect.game.rules.relations import Relation, format_question
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.inference.generator import Generator
from idiolect.models.base import load_base
from idiolect.prompts.render import Prompter
from idiolect.tasks.registry import get_task
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig

TASK_NAME = "word-relation"
PLAYER_ID = "player"
"""The only name in the folder: it says nothing of whose it is."""
MAX_SHOWN_ANSWERS = 10
NUM_BEAMS = 24
"""More than are shown: some answers are one word in two spellings, or the base word."""
MAX_NEW_TOKENS = 6
"""The longest answer that is looked for; words of the game have one to four tokens."""

FEW_SHOT_EXAMPLES = tuple(
    (format_question(relation, base_word, determiner), answer)
    for relation, base_word, determiner, answer in (
        (Relation.HYPONYMS, "tool", "", "hammer"),
        (Relation.MERONYMS, "house", "a", "roof"),
        (Relation.SYNONYMS, "fast", "", "quick"),
        (Relation.ANTONYMS, "cold", "", "hot"),
    )
)
"""What the plain model is shown of the game, as earlier turns and by nobody's taste: without, it
answers in sentences, and to know the game better than that would be no merit."""

CONFIG = PersonalConfig(
    # The page shows the plain model beside the own one, so an adapter that does not help is seen.
    gate=GateConfig(on=False),
    # Some hundred answers are few: three rounds over them.
    train=TrainConfig(epochs=3),
)


def train_player_model(
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
    write_dataset(data, [history], task=TASK_NAME, source="the word game", overwrite=True)
    try:
        api.personalize(
            api.PersonalizeRequest(data=data, store=store, base=base, config=config),
            listener=listener,
        )
    except MismatchError:
        shutil.rmtree(store)
        api.personalize(
            api.PersonalizeRequest(data=data, store=store, base=base, config=config),
            listener=listener,
        )


_load_base_cached = lru_cache(maxsize=1)(load_base)
"""The base that was asked last stays loaded: the next question is a round later."""


class AnswerPredictor:
    """One player's model, and the same without them, ready to be asked."""

    def __init__(self, folder: Path, *, base: str | None = None) -> None:
        store = AdapterStore.open(folder / "adapters")
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        loaded = base_of(store, base, load=_load_base_cached)
        adapter = usable_adapter(store, PLAYER_ID)
        self._generator = Generator(loaded, {PLAYER_ID: adapter.check(loaded)} if adapter else {})
        self._task = get_task(TASK_NAME)
        self._prompter = Prompter(loaded.tokenizer, config.prompt)

    def predict_answers(self, asked: str, base_word: str) -> tuple[list[str], list[str]]:
        """The likeliest answers, at most ten each: the player's model's and the plain one's, which
        is shown ``EXAMPLES``.

        As answers of players count: normalised, without the base word, one a stem; no slurs.
        """
        prompts = self._build_prompt(asked, ()), self._build_prompt(asked, FEW_SHOT_EXAMPLES)
        own, plain = self._generator.likeliest(
            list(zip((PLAYER_ID, ""), prompts, strict=True)),
            beams=NUM_BEAMS,
            max_tokens=MAX_NEW_TOKENS,
        )
        return _filter_showable(base_word, own), _filter_showable(base_word, plain)

    def _build_prompt(self, asked: str, shown: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        ids: list[int] = []
        for question_, answer in shown:
            turn = self._prompter.example(self._task.prompt(_make_item(question_)), answer)
            ids += turn.ids if turn else ()
        last = self._prompter.prompt_ids(self._task.prompt(_make_item(asked)), room=MAX_NEW_TOKENS)
        if last is None:
            limit = self._prompter.config.max_tokens
            raise UsageError(f"prompt.max_tokens: {limit} is too few for a question of the game")
        return (*ids, *last)


def _make_item(asked: str) -> Interaction:
    return Interaction(id="asked", position=0, fields={"question": asked})


def _filter_showable(base_word: str, texts: Sequence[str]) -> list[str]:
    return [text for text in filter_accepted(base_word, texts) if not is_slur(text)][
        :MAX_SHOWN_ANSWERS
    ]
