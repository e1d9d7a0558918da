"""Trains one player's adapter and predicts the player's answers with it.

Works on a folder and a history, without Django. The caller must hold out the words that it asks
for.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from idiolect import api
from idiolect.adapters.formats.exchange import load_matching_base
from idiolect.adapters.store.source import get_usable_adapter
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.errors import MismatchError, UsageError
from idiolect.events import Listener, null_listener
from idiolect.game.profanity import is_slur
from idiolect.game.rules.answers import filter_accepted
from idiolect.game.rules.relations import Relation, format_question
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.inference.generator import Generator
from idiolect.models.load import load_base
from idiolect.prompts.render import PromptRenderer
from idiolect.tasks.registry import get_task
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig

TASK_NAME = "word-relation"
PLAYER_ID = "player"
"""The player's name in the dataset and the store, so that the folder does not identify a person."""
MAX_SHOWN_ANSWERS = 10
NUM_BEAMS = 24
"""More beams than shown answers, because some are other spellings or the base word."""
MAX_NEW_TOKENS = 6
"""Maximum length of a predicted answer; words in the game have one to four tokens."""

FEW_SHOT_EXAMPLES = tuple(
    (format_question(relation, base_word, determiner), answer)
    for relation, base_word, determiner, answer in (
        (Relation.HYPONYMS, "tool", "", "hammer"),
        (Relation.MERONYMS, "house", "a", "roof"),
        (Relation.SYNONYMS, "fast", "", "quick"),
        (Relation.ANTONYMS, "cold", "", "hot"),
    )
)
"""Earlier turns in the plain model's prompt, which show it the game but no player's taste.

Without them the plain model answers in sentences, and the comparison would be too easy."""

CONFIG = PersonalConfig(
    # No holdout gate: the page compares both models, so players see if their adapter is no better.
    gate=GateConfig(on=False),
    # A player has some hundred answers, which need several epochs.
    train=TrainConfig(epochs=3),
)


def train_player_model(
    folder: Path,
    history: History,
    *,
    base: str = "default",
    config: PersonalConfig = CONFIG,
    listener: Listener = null_listener,
) -> None:
    """Write the player's dataset to ``folder`` and train the adapter there.

    A second call trains only if the history changed, and an interrupted run resumes. An adapter
    for another base model or with other settings is replaced.
    """
    data, store = folder / "history", folder / "adapters"
    write_dataset(data, [history], task=TASK_NAME, source="the word game", overwrite=True)
    try:
        api.personalize(
            api.PersonalizeRequest(
                data=data, store=store, base=base, config=config, allow_older=True
            ),
            listener=listener,
        )
    except MismatchError:
        # The store belongs to another base model or other settings, so start over.
        shutil.rmtree(store)
        api.personalize(
            api.PersonalizeRequest(
                data=data, store=store, base=base, config=config, allow_older=True
            ),
            listener=listener,
        )


_load_base_cached = lru_cache(maxsize=1)(load_base)
"""Keeps the last base model in memory, because the next prediction often follows soon."""


class AnswerPredictor:
    """Predicts answers with a player's model and with the same model without the adapter.

    Loads the base model and the adapter in ``folder``; ``base`` replaces the base model's source.
    """

    def __init__(self, folder: Path, *, base: str | None = None) -> None:
        store = AdapterStore.open(folder / "adapters")
        # The prompt settings must be those of the training.
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        loaded = load_matching_base(store, base, load=_load_base_cached)
        adapter = get_usable_adapter(store, PLAYER_ID)
        # A player without a usable adapter gets the plain model's answers.
        self._generator = Generator(
            loaded, {PLAYER_ID: adapter.check_matches_base(loaded)} if adapter else {}
        )
        self._task = get_task(TASK_NAME)
        self._prompter = PromptRenderer(loaded.tokenizer, config.prompt)

    def predict_answers(self, question: str, base_word: str) -> tuple[list[str], list[str]]:
        """Return the likeliest answers of the player's model and of the plain model.

        Each list has at most ``MAX_SHOWN_ANSWERS`` answers, best first. The plain model sees
        ``FEW_SHOT_EXAMPLES`` first. The answers follow the rules for players' answers: normalized,
        one per stem, without the base word; slurs are removed.
        """
        prompts = self._build_prompt(question, ()), self._build_prompt(question, FEW_SHOT_EXAMPLES)
        # One batch: the adapter of `PLAYER_ID` for the first prompt, no adapter for the second.
        own, plain = self._generator.beam_search(
            list(zip((PLAYER_ID, ""), prompts, strict=True)),
            beams=NUM_BEAMS,
            max_tokens=MAX_NEW_TOKENS,
        )
        return _filter_showable(base_word, own), _filter_showable(base_word, plain)

    def _build_prompt(self, question: str, examples: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        """Return token ids: (question, answer) examples as earlier turns, then the question.

        Raises UsageError if the question does not fit into the prompt's maximum length.
        """
        ids: list[int] = []
        for example_question, answer in examples:
            turn = self._prompter.encode_example(
                self._task.prompt(_make_item(example_question)), answer
            )
            ids += turn.ids if turn else ()
        last = self._prompter.encode_prompt(
            self._task.prompt(_make_item(question)), reserve_tokens=MAX_NEW_TOKENS
        )
        if last is None:
            limit = self._prompter.config.max_tokens
            raise UsageError(
                f"prompt.max_tokens: {limit} is too small for a question of the game; increase it"
            )
        return (*ids, *last)


def _make_item(question: str) -> Interaction:
    return Interaction(id="asked", position=0, fields={"question": question})


def _filter_showable(base_word: str, texts: Sequence[str]) -> list[str]:
    """Keep the first accepted answers that are not slurs, in order."""
    return [text for text in filter_accepted(base_word, texts) if not is_slur(text)][
        :MAX_SHOWN_ANSWERS
    ]
