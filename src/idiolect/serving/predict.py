"""Predicts one answer for one person from any source of adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idiolect.adapters.formats.exchange import load_matching_base
from idiolect.adapters.store.source import (
    AdapterSource,
    describe_other_quantization,
    get_usable_adapter,
)
from idiolect.config import from_plain
from idiolect.errors import MissingError, UsageError
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.inference.answers import Question, answer_questions
from idiolect.inference.generator import Generator
from idiolect.models.encoder import MiniLM
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.profiles.store import load_profiles
from idiolect.prompts.context import PersonContext
from idiolect.prompts.render import PromptRenderer
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
    """The probability of each choice if the task has choices; empty otherwise."""
    warning: str = ""
    """What may make the answer worse; empty if nothing."""


def predict_one(
    source: AdapterSource,
    person: str,
    text: str,
    *,
    base: str | None = None,
    data: Path | None = None,
    profiles: Path | None = None,
    quantize: QuantizeName | None = None,
) -> Prediction:
    """See ``api.predict``."""
    # Prompts must look as in training, so retrieval and profiles need the same inputs.
    config = from_plain(PersonalConfig, source.settings, where=str(source.folder))
    task = get_task(source.task)
    context = config.context
    if data is None and (context.retrieval != "none" or context.profile):
        used = "profiles" if context.retrieval == "none" else f"{context.retrieval} retrieval"
        raise UsageError(
            f"{source.folder}: its adapters were trained with {used}; also name the person's "
            "dataset"
        )
    if context.profile and profiles is None:
        raise UsageError(
            f"{source.folder}: its adapters were trained with profiles; also name the profiles"
        )
    # Without a dataset the person must be in the source.
    history = History(person, ())
    if data is not None:
        history = read_dataset(data).read_history(person)
    elif source.get_record(person) is None:
        known = f", e.g. {source.people[0]!r}" if source.people else ""
        raise MissingError(f"{source.folder}: no person named {person!r} among its people{known}")
    # Build the person's context and decode one question, with the bare base if they have no
    # adapter.
    loaded = load_matching_base(source, base, quantize=quantize)
    adapter = get_usable_adapter(source, person)
    person_context = PersonContext(
        history,
        task,
        PromptRenderer(loaded.tokenizer, config.prompt),
        context,
        profiles=load_profiles(profiles, task=task.name).get(person, ()) if profiles else (),
        encoder=MiniLM() if context.retrieval == "dense" else None,
        seed=config.train.seed,
    )
    query = Interaction(id="asked", position=len(history.items), fields=task.parse_input(text))
    generator = Generator(loaded, {person: adapter} if adapter else {})
    found = answer_questions(generator, task, [Question(person=person_context, query=query)])[0]
    return Prediction(
        person=person,
        task=task.name,
        text=found.text,
        served_by="adapter" if adapter else "base",
        probabilities=dict(zip(task.choices, found.probabilities, strict=False)),
        warning=describe_other_quantization(source.get_quantization(person), loaded)
        if adapter
        else "",
    )
