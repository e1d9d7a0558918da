"""Whose adapter must be trained, on what, and from where it starts; trains nobody.

A person's record in the store says what their adapter was made by; whoever would get the same again
has no work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.task import Task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.runs.initial_adapters import InitialAdapters
from idiolect.training.schedule import TrainConfig

Mode = Literal["afresh", "continue"]


@dataclass(frozen=True, kw_only=True)
class PoolReference:
    """The pool of whose pieces everyone's start is made."""

    id: str
    source: str
    """The way to it from the store."""
    recipes: str
    """The way to the recipes from the store."""


@dataclass(frozen=True, kw_only=True)
class PersonalConfig:
    """Everything that decides what people's adapters become."""

    lora: LoraConfig = field(default_factory=LoraConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    least_items: int = 5
    """People with fewer usable items to train on are served by the base."""
    last_items: int = 0
    """Use at most so many of a person's last items; 0 for all."""
    start: str = ""
    """sha256 of the adapter from which everyone starts; empty for fresh ones. Whoever names the
    adapter sets it (``run.starting_from``)."""
    pool: PoolReference | None = None
    """Where everyone starts from the adapter that their recipe makes; whoever names recipes sets
    it."""
    dtype: DtypeName = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.least_items < 1:
            raise UsageError(f"least_items: must be at least 1, got {self.least_items}")
        if self.last_items < 0:
            raise UsageError(f"last_items: must be 0 (all) or more, got {self.last_items}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonPlan:
    """One person's work."""

    person: str
    made_by: str
    history_fingerprint: str
    """Fingerprint of the items that are trained on."""
    items: int
    train_examples: tuple[Example, ...]
    """What is trained on."""
    holdout_examples: tuple[Example, ...]
    """What is held out for the gate."""
    previous_adapter: Adapter | None
    """Their present adapter, to go on from."""
    sharers: tuple[str, ...]
    """Whose pieces their adapter will be made of."""
    unusable_items: int
    """Items left out: no answer, or too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What every step of a run needs: loaded once, then passed on whole."""

    base: Base
    task: Task
    config: PersonalConfig
    engine: EngineConfig = field(default_factory=EngineConfig)
    profiles: Mapping[str, Sequence[Profile]] = field(default_factory=dict)
    """Texts about each person, shown in prompts if ``config.context.profile`` is on."""
    encoder: Encoder | None = None
    """Needed for dense retrieval only."""
    starts: InitialAdapters | None = None
    """Where each person's training starts; fresh adapters if ``None``."""
    mode: Mode = "afresh"


class Planner:
    """Decides for one person at a time; ``stores`` are asked in order what is known of them."""

    def __init__(self, context: RunContext, stores: Sequence[AdapterStore]) -> None:
        self.context, self.config, self.stores = context, context.config, stores
        self.prompter = PromptRenderer(context.base.tokenizer, context.config.prompt)

    def find_record(self, person: str) -> AdapterRecord | None:
        """What the first store that knows a person says of them."""
        return next(filter(None, (store.get_record(person) for store in self.stores)), None)

    def plan_person(self, history: History) -> PersonPlan | None:
        """A person's work, ``None`` where the stores have them as they would become."""
        history = self._limit_history(history)
        made_by, known = self._fingerprint_inputs(history), self.find_record(history.person)
        if known is not None and known.made_by == made_by:
            return None
        person = PersonContext(
            history,
            self.context.task,
            self.prompter,
            self.config.context,
            profiles=self.context.profiles.get(history.person, ()),
            encoder=self.context.encoder,
            seed=self.config.train.seed,
        )
        front = len(history.items) - self.config.gate.count_holdout(len(history.items))
        first, start = self._find_start(history, known, front)
        examples = [person.build_item_example(n) for n in range(len(history.items))]
        if start is not None and not any(examples[first:front]):
            return None  # nothing new to go on with
        starts = self.context.starts
        sharers = starts.list_sharers(history.person) if starts else ()
        if start is not None and known is not None:
            sharers = known.sharers
        return PersonPlan(
            person=history.person,
            made_by=made_by,
            history_fingerprint=History(
                history.person, history.items[:front]
            ).compute_fingerprint(),
            items=front,
            train_examples=tuple(e for e in examples[first:front] if e is not None),
            holdout_examples=tuple(e for e in examples[front:] if e is not None),
            previous_adapter=start,
            sharers=sharers,
            unusable_items=examples.count(None),
        )

    def _limit_history(self, history: History) -> History:
        """The part of a history that these settings look at."""
        return history.take_last(self.config.last_items) if self.config.last_items else history

    def _fingerprint_inputs(self, history: History) -> str:
        """Fingerprint of everything that the adapter of a person with this history follows from.

        Neither the device nor where things lie is in it: moving them is no reason to train everyone
        again.
        """
        profiles = self.context.profiles.get(history.person, ())
        settings = to_plain(self.config)
        del settings["device"]
        if self.config.pool is not None:
            settings["pool"] = self.config.pool.id
        starts = self.context.starts
        origin = starts.compute_fingerprint(history.person) if starts else ""
        return compute_fingerprint(
            [
                self.context.base.identity,
                settings,
                history.compute_fingerprint(),
                [p.text for p in profiles] if self.config.context.profile else [],
                *([origin] if origin else []),
            ]
        )

    def _find_start(
        self, history: History, known: AdapterRecord | None, front: int
    ) -> tuple[int, Adapter | None]:
        """The first item to train on and the adapter to start from.

        Going on is only possible where the items trained on before are this history's first ones;
        where none were (an adapter that was imported), it starts with the first.
        """
        present = self._load_adapter(history.person) if self.context.mode == "continue" else None
        if known is None or present is None or known.items > front:
            return 0, None
        if self.context.starts is not None:
            self.context.starts.require_sharers(history.person, known.sharers)
        if known.items == 0:
            return 0, present
        seen = History(history.person, history.items[: known.items]).compute_fingerprint()
        if seen != known.history or (
            known.items == front and not self._has_only_grown(history, known)
        ):
            return 0, None
        return known.items, present

    def _has_only_grown(self, history: History, known: AdapterRecord) -> bool:
        """Whether the known adapter is what these settings made of some first items of a history.

        The held-out tail grows with a history, so there may be nothing new to train on.
        """
        prefixes = (
            History(history.person, history.items[:count])
            for count in range(known.items, len(history.items))
            if count - self.config.gate.count_holdout(count) == known.items
        )
        return any(self._fingerprint_inputs(prefix) == known.made_by for prefix in prefixes)

    def _load_adapter(self, person: str) -> Adapter | None:
        """The adapter in the first store that knows a person."""
        holder = next((store for store in self.stores if store.get_record(person)), None)
        return holder.get_adapter(person) if holder else None
