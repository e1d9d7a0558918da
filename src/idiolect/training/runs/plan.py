"""Plans of a run: which people to train, on which items, and from which adapter. Trains nothing.

A person's record in the store has a fingerprint of everything their adapter was made from
(``made_by``). If it is unchanged, the person has no work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.history.suppress import contains_forgotten
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.privacy.suppression import SuppressionList
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.task import Task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.private.config import PrivateConfig
from idiolect.training.runs.initial_adapters import InitialAdapters
from idiolect.training.schedule import TrainConfig

Mode = Literal["afresh", "continue"]


@dataclass(frozen=True, kw_only=True)
class PoolReference:
    """The pool whose pieces make each person's initial adapter."""

    id: str
    source: str
    """Path to the pool, relative to the store."""
    recipes: str
    """Path to the recipes, relative to the store."""


@dataclass(frozen=True, kw_only=True)
class PersonalConfig:
    """All settings that determine people's adapters."""

    lora: LoraConfig = field(default_factory=LoraConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    least_items: int = 5
    """The base serves people with fewer usable training items than this."""
    last_items: int = 0
    """Use at most this many of a person's last items; 0: all."""
    start: str = ""
    """SHA-256 of the adapter from which each person starts; empty: new adapters. Set by
    ``set_start_adapter``."""
    pool: PoolReference | None = None
    """Set if each person starts from the adapter that their recipe makes."""
    private: PrivateConfig | None = None
    """Set if people are trained with differential privacy; see ``training/private/request.py``."""
    dtype: DtypeName = "auto"
    device: str = "auto"
    quantize: QuantizeName = "none"
    """How the base's linear layers are quantized when it is loaded (``models/quantization/``)."""

    def __post_init__(self) -> None:
        if self.least_items < 1:
            raise UsageError(f"least_items: must be at least 1, got {self.least_items}")
        if self.last_items < 0:
            raise UsageError(f"last_items: must be 0 (all) or more, got {self.last_items}")
        if self.private is not None:
            self._require_separate_records()

    def _require_separate_records(self) -> None:
        """Raise UsageError if one record could influence training through others.

        Then removing it would change more than its own, bounded contribution.
        """
        if self.context.retrieval != "none" or self.context.profile:
            raise UsageError(
                "private training: prompts must not contain other records of the person; leave out "
                "--retrieval and --profiles"
            )
        if self.last_items:
            raise UsageError(
                "private training: a new record would push an old one out of last_items; use all "
                "items (last_items=0)"
            )
        if self.pool is not None:
            raise UsageError("private training starts from a basis (--start), not from pieces")

    @property
    def least_train_items(self) -> int:
        """The base serves people with fewer usable training items than this."""
        return max(self.least_items, self.private.least_records if self.private else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonPlan:
    """One person's planned work."""

    person: str
    made_by: str
    """Fingerprint of everything that the adapter depends on."""
    history_fingerprint: str
    """Fingerprint of the training items."""
    items: int
    """Number of items before the held-out ones."""
    total: int
    """Number of all items of the person."""
    until: float | None
    """Time of the last of them."""
    train_examples: tuple[Example, ...]
    """Examples to train on."""
    holdout_examples: tuple[Example, ...]
    """Examples held out for the gate."""
    previous_adapter: Adapter | None
    """The person's current adapter, if training continues from it."""
    sharers: tuple[str, ...]
    """The people whose pieces their adapter will be made of."""
    unusable_items: int
    """Number of items left out: no answer, or too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What each step of a run needs: loaded once, then passed as one value."""

    base: Base
    task: Task
    config: PersonalConfig
    engine: EngineConfig = field(default_factory=EngineConfig)
    profiles: Mapping[str, Sequence[Profile]] = field(default_factory=dict)
    """Profiles of each person, shown in prompts if ``config.context.profile`` is on."""
    encoder: Encoder | None = None
    """Needed for dense retrieval only."""
    starts: InitialAdapters | None = None
    """Each person's initial adapter; new adapters if ``None``."""
    basis: AdapterBasis | None = None
    """The directions of private training (``config.private``)."""
    mode: Mode = "afresh"
    suppressions: Sequence[SuppressionList] = ()
    """Lists of forgotten people and records, which are not trained on."""
    allow_older: bool = True
    """Whether a history that is older than the one of the current adapter replaces it."""


def find_last_time(history: History) -> float | None:
    """Return the time of a history's last item; ``None`` if it has none."""
    return max((i.time for i in history.items if i.time is not None), default=None)


class Planner:
    """Plans the work of one person at a time.

    A person is looked up in ``stores`` in order; the first one that has them counts.
    """

    def __init__(self, context: RunContext, stores: Sequence[AdapterStore]) -> None:
        self.context, self.config, self.stores = context, context.config, stores
        self.prompter = PromptRenderer(context.base.tokenizer, context.config.prompt)

    def find_record(self, person: str) -> AdapterRecord | None:
        """Return a person's record in the first store that has one."""
        return next(filter(None, (store.get_record(person) for store in self.stores)), None)

    def plan_person(self, history: History) -> PersonPlan | None:
        """Return a person's plan; ``None`` if their adapter is up to date."""
        total, until = len(history.items), find_last_time(history)
        history = self._limit_history(history)
        # Skip the person if the same inputs made their current adapter.
        made_by, record = self._fingerprint_inputs(history), self.find_record(history.person)
        if record is not None and record.made_by == made_by:
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
        # Items before ``train_end`` are for training, the rest for the gate. Training starts at
        # item ``first``: 0, or the first new item if it continues.
        train_end = len(history.items) - self.config.gate.count_holdout(len(history.items))
        first, start = self._find_start(history, record, train_end)
        examples = [person.build_item_example(n) for n in range(len(history.items))]
        if start is not None and not any(examples[first:train_end]):
            return None  # no new item to train on
        # A continued adapter keeps its sharers; a new one has those of its initial adapter.
        starts = self.context.starts
        sharers = starts.list_sharers(history.person) if starts else ()
        if start is not None and record is not None:
            sharers = record.sharers
        return PersonPlan(
            person=history.person,
            made_by=made_by,
            history_fingerprint=History(
                history.person, history.items[:train_end]
            ).compute_fingerprint(),
            items=train_end,
            total=total,
            until=until,
            train_examples=tuple(e for e in examples[first:train_end] if e is not None),
            holdout_examples=tuple(e for e in examples[train_end:] if e is not None),
            previous_adapter=start,
            sharers=sharers,
            unusable_items=examples.count(None),
        )

    def is_forgotten(self, history: History) -> bool:
        """Whether a history holds anything that is on a suppression list."""
        lists = self.context.suppressions
        return bool(lists) and contains_forgotten(history, self.context.task.name, lists)

    def is_older(self, planned: PersonPlan) -> bool:
        """Whether the person's current adapter was made from a longer or newer history.

        An old copy of a dataset, or one from before a deletion, must not replace it silently.
        """
        record = self.find_record(planned.person)
        if record is None or self.context.allow_older:
            return False
        is_earlier = (
            planned.until is not None and record.until is not None and planned.until < record.until
        )
        return is_earlier or planned.total < record.total

    def _limit_history(self, history: History) -> History:
        """Return the part of a history that the settings use."""
        return history.take_last(self.config.last_items) if self.config.last_items else history

    def _fingerprint_inputs(self, history: History) -> str:
        """Return a fingerprint of everything that a person's adapter depends on.

        It contains neither the device nor paths: moving folders must not train all people again.
        """
        profiles = self.context.profiles.get(history.person, ())
        settings = to_plain(self.config)
        del settings["device"]
        # What the base is, also if its folder holds quantized weights.
        settings["quantize"] = self.context.base.quantization
        # The pool counts by its id; its path may change.
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
        self, history: History, record: AdapterRecord | None, train_end: int
    ) -> tuple[int, Adapter | None]:
        """Return the first item to train on, and the adapter to start from.

        Training can continue only if the items of the previous training are the first items of this
        history. An imported adapter has no training items, so training starts at the first item.
        """
        previous = self._load_adapter(history.person) if self.context.mode == "continue" else None
        if record is None or previous is None or record.items > train_end:
            return 0, None
        if self.context.starts is not None:
            self.context.starts.require_sharers(history.person, record.sharers)
        # An imported adapter.
        if record.items == 0:
            return 0, previous
        seen = History(history.person, history.items[: record.items]).compute_fingerprint()
        if seen != record.history or (
            record.items == train_end and not self._has_only_grown(history, record)
        ):
            return 0, None
        return record.items, previous

    def _has_only_grown(self, history: History, record: AdapterRecord) -> bool:
        """Return whether these settings made the recorded adapter from a prefix of the history.

        The holdout grows with the history, so there may be no new item to train on.
        """
        prefixes = (
            History(history.person, history.items[:count])
            for count in range(record.items, len(history.items))
            if count - self.config.gate.count_holdout(count) == record.items
        )
        return any(self._fingerprint_inputs(prefix) == record.made_by for prefix in prefixes)

    def _load_adapter(self, person: str) -> Adapter | None:
        """Return the person's adapter from the first store that has a record of them."""
        holder = next((store for store in self.stores if store.get_record(person)), None)
        return holder.get_adapter(person) if holder else None
