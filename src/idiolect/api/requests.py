"""What the API can be asked for, as values: the commands build them, the functions take them.

Every field is given by its name. Loads no torch. The requests of longer work (``personalize``,
``share``, ``assemble``, ``withdraw``, ``evaluate``) are defined beside that work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from idiolect.erasure.forget import ForgetConfig
    from idiolect.evaluation.run_scorecard import ScorecardConfig
    from idiolect.privacy.consent import Scope
    from idiolect.training.adapt_base import AdaptConfig
    from idiolect.unlearning.run import UnlearnConfig


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Which export to read, and into which dataset."""

    source: Path | None
    """The export's file or folder; ``None`` if the format downloads its data itself."""
    out: Path | None = None
    """Folder of the dataset; needed unless ``dry_run`` is set."""
    format: str | None = None
    """Name of the format; recognized from the files if ``None``."""
    task: str | None = None
    """Name of the task, if the format serves several."""
    person: str | None = None
    """Whose data it is, if the export does not say it."""
    person_role: str | None = None
    """The role under which the person speaks in chats."""
    split: str | None = None
    """The part of a benchmark to read."""
    name: str | None = None
    """Name of the dataset."""
    overwrite: bool = False
    """Replace a dataset that is already in ``out``."""
    dry_run: bool = False
    """Only report what would be read."""


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """About whom to write profiles, and who writes them."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder of the profiles."""
    base: str = "default"
    """The model that writes: ``default`` (embedded), a folder, or a hub id."""
    writer: str = "model"
    """``model``, or ``facts`` for plain facts without a model."""
    people: Sequence[str] = ()
    """Only these people; all of the dataset if empty."""


@dataclass(frozen=True, kw_only=True)
class AdaptRequest:
    """Which base to adapt, and on whose histories."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder of the new base; must not exist yet."""
    base: str = "default"
    """The base model: ``default`` (embedded), a folder, or a hub id."""
    config: AdaptConfig | None = None
    """How it is trained; its defaults if ``None``."""
    people: Sequence[str] = ()
    """Train on these people; if empty, on all who are not in a test split."""
    exclude: Sequence[str] = ()
    """Never train on these people, nor on their items in the histories of others."""
    profiles: Path | None = None
    """Folder of profiles; needed if ``config.context.profile`` is on."""


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Which question to answer, and as whom."""

    store: Path
    """Folder of adapters, or of recipes."""
    person: str
    """As whom to answer."""
    text: str
    """The question, in the words of the store's task."""
    base: str | None = None
    """Where the store's base lies now, if it has moved."""
    data: Path | None = None
    """The person's dataset, if adapters were trained with retrieval."""
    profiles: Path | None = None
    """Folder of profiles, if adapters were trained with profiles."""
    pool: Path | None = None
    """Where the recipes' pool lies now, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Whose adapter to write in a foreign format."""

    store: Path
    """Folder of adapters, or of recipes."""
    person: str
    """Whose adapter."""
    out: Path
    """Folder to write."""
    format: str = "peft"
    """``peft`` is the only one."""
    on: Literal["base", "public"] = "base"
    """``public`` stacks it with its base's task adapter, so that it runs on the public base."""
    base: str | None = None
    """Where the store's base lies now, if it has moved."""
    pool: Path | None = None
    """Where the recipes' pool lies now, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class ImportAdapterRequest:
    """Which PEFT adapter to take into a store, and as whose."""

    folder: Path
    """Folder of the adapter in PEFT's format."""
    store: Path
    """Folder of the adapters; made if it is missing."""
    person: str
    """Whose adapter it becomes."""
    base: str | None = None
    """The base that it was trained on, if its files do not say where that lies."""
    replace: bool = False
    """Replace an adapter that the person already has."""


@dataclass(frozen=True, kw_only=True)
class ConsentRequest:
    """Who agrees to a scope of sharing, or takes that back."""

    store: Path
    """Folder of the adapters."""
    people: Sequence[str]
    """Who agrees."""
    scope: Scope
    """To what: ``pieces`` (in a pool) or ``mean``."""
    until: date | None = None
    """The last day on which it holds (UTC)."""
    revoke: bool = False
    """Take it back instead."""


@dataclass(frozen=True, kw_only=True)
class UnlearnRequest:
    """What to take out of which model."""

    target: str | Path
    """``default``, a model's folder or hub id; a folder in PEFT's format; or a store, of which
    ``person``'s adapter is meant."""
    out: Path
    """Folder of the result: a base, or an adapter in PEFT's format."""
    forget: str | Path
    """What to forget: a file of pairs, or ``pyrit`` or ``truthfulqa``."""
    retain: str | Path
    """What to keep, likewise."""
    config: UnlearnConfig | None = None
    """The method and its settings; its defaults if ``None``."""
    person: str | None = None
    """Whose adapter, if ``target`` is a store."""
    base: str | None = None
    """The base of an adapter, if it has moved."""
    pool: Path | None = None
    """Where the recipes' pool lies now, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class ScorecardRequest:
    """Which models to measure, before and after unlearning."""

    before: str | Path
    """The model before: ``default``, a model's folder or hub id, or a folder in PEFT's format."""
    after: Sequence[str | Path]
    """The models that unlearning made of it."""
    out: Path
    """Folder of the report."""
    forget: str | Path
    """What was to be forgotten: a file of pairs, or ``pyrit`` or ``truthfulqa``."""
    retain: str | Path
    """What was to be kept, likewise; both are better of prompts that were not trained on."""
    unseen: str | Path | None = None
    """Harmful prompts that were not in the forget set, with or without answers."""
    judge: str = "default"
    """Who says what is harmful; see ``judging.judges.HOW``."""
    base: str | None = None
    """The base of adapters, if it has moved."""
    config: ScorecardConfig | None = None
    """What is measured; its defaults if ``None``."""


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """Whom, or which of their records, to forget, and where."""

    data: Path
    """Folder of the dataset."""
    adapters: Path
    """Folder of the adapters."""
    person: str
    """Who is forgotten, or whose records."""
    records: Sequence[str] = ()
    """Ids of records; the whole person if empty."""
    gone: Path | None = None
    """A file of prompts and responses that the adapter was trained on and ``data`` no longer holds:
    the adapter is negated on them, which is not exact."""
    within: Sequence[Path] = ()
    """Folders to look through; those that ``data`` and ``adapters`` lie in if empty."""
    base: str | None = None
    """Where the store's base lies now, if it has moved."""
    profiles: Path | None = None
    """Folder of profiles, if adapters were trained with profiles."""
    config: ForgetConfig | None = None
    """What becomes of the adapters and words of others; its defaults if ``None``."""
    negating: UnlearnConfig | None = None
    """With ``gone``: how the adapter is negated; its defaults if ``None``."""
    verify: bool = False
    """Afterwards look through every byte; what is found is in the receipt's ``left``."""
    dry_run: bool = False
    """Only say what there is."""
    wait: bool = True
    """Wait if another process writes what must change; otherwise raise BusyError."""
