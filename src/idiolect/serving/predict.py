"""One answer for one person, wherever their adapter comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idiolect.adapters.formats.exchange import base_of
from idiolect.adapters.store.source import AdapterSource, usable_adapter
from idiolect.config import from_plain
from idiolect.errors import MissingError, UsageError
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.inference.answers import Question, answer
from idiolect.inference.generator import Generator
from idiolect.models.encoder import MiniLM
from idiolect.profiles.store import load as load_profiles
from idiolect.prompts.context import Person
from idiolect.prompts.render import Prompter
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answer for one person."""

    person: str
    task: str
    text: str
    served_by: Literal["adapter", "base"]
    probabilities: Mapping[str, float]
    """Restricted-choice likelihood, where the task has few answers."""


def predict_one(
    source: AdapterSource,
    person: str,
    text: str,
    *,
    base: str | None = None,
    data: Path | None = None,
    profiles: Path | None = None,
) -> Prediction:
    """See ``api.predict``."""
    config = from_plain(PersonalConfig, source.settings, where=str(source.folder))
    task = get_task(source.task)
    context = config.context
    if data is None and (context.retrieval != "none" or context.profile):
        beside = "profiles" if context.retrieval == "none" else f"{context.retrieval} retrieval"
        raise UsageError(
            f"{source.folder}: its adapters were trained with {beside}; name the person's dataset, "
            "too"
        )
    if context.profile and profiles is None:
        raise UsageError(
            f"{source.folder}: its adapters were trained with profiles; name them, too"
        )
    history = History(person, ())
    if data is not None:
        history = read_dataset(data).history(person)
    elif source.record(person) is None:
        known = f", e.g. {source.people[0]!r}" if source.people else ""
        raise MissingError(f"{source.folder}: nobody named {person!r} among its people{known}")
    loaded = base_of(source, base)
    adapter = usable_adapter(source, person)
    asked = Person(
        history,
        task,
        Prompter(loaded.tokenizer, config.prompt),
        context,
        profiles=load_profiles(profiles, task=task.name).get(person, ()) if profiles else (),
        encoder=MiniLM() if context.retrieval == "dense" else None,
        seed=config.train.seed,
    )
    query = Interaction(id="asked", position=len(history.items), fields=task.parse_input(text))
    generator = Generator(loaded, {person: adapter.check(loaded)} if adapter else {})
    found = answer(generator, task, [Question(person=asked, query=query)])[0]
    return Prediction(
        person=person,
        task=task.name,
        text=found.text,
        served_by="adapter" if adapter else "base",
        probabilities=dict(zip(task.choices, found.probabilities, strict=False)),
    )
