"""Request classes: the arguments of the API functions as frozen dataclasses.

The command line builds them, the API functions take them. All fields are keyword-only. The requests
of longer work (``personalize``, ``share``, ``assemble``, ``withdraw``, ``evaluate``) are defined in
the packages that do this work. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from idiolect.erasure.forget import ForgetConfig
    from idiolect.erasure.receipt import Receipt
    from idiolect.evaluation.run_scorecard import ScorecardConfig
    from idiolect.models.device import DtypeName
    from idiolect.models.quantization.kinds import QuantizeName
    from idiolect.privacy.consent import Scope
    from idiolect.training.adapt_base import AdaptConfig
    from idiolect.unlearning.run import UnlearnConfig


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The arguments of ``import_data``: the export to read and the dataset to write."""

    source: Path | None
    """The export's file or folder; ``None`` for a format that is installed as a package."""
    out: Path | None = None
    """Dataset folder to write; required unless ``dry_run`` is set."""
    format: str | None = None
    """Name of the format; detected from the files if ``None``."""
    task: str | None = None
    """Name of the task; required if the format serves several tasks."""
    person: str | None = None
    """Id of the person whose data it is; required if the export does not contain it."""
    person_role: str | None = None
    """The person's role in chats; ``user`` if ``None``. Any other role is the other side."""
    consent_of_person: str | None = None
    """How the person of the other side agreed that their words are learned. The dataset's manifest
    keeps this statement."""
    machine_text: bool = False
    """State that a machine wrote the other side, so that no one has to agree."""
    split: str | None = None
    """The split of a benchmark to read; all splits if ``None``."""
    name: str | None = None
    """Name of the dataset; the folder's name if ``None``."""
    suppress: Sequence[Path] = ()
    """Suppression lists that ``forget`` wrote; the one beside ``out`` is always used."""
    overwrite: bool = False
    """Replace an existing dataset in ``out``."""
    dry_run: bool = False
    """Read and report, but write nothing."""


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """The arguments of ``profile``: the people to describe, and the writer."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder for the profiles."""
    base: str = "default"
    """The model that writes: ``default`` (bundled), a folder, or ``hub:`` and a hub id."""
    writer: str = "model"
    """``model``, or ``facts`` for plain facts without a model."""
    people: Sequence[str] = ()
    """Ids of the people to describe; all people of the dataset if empty."""


@dataclass(frozen=True, kw_only=True)
class AdaptRequest:
    """The arguments of ``adapt``: the base model and the people to train it on."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder for the new base model; must not exist."""
    base: str = "default"
    """The base model: ``default`` (bundled), a folder, or ``hub:`` and a hub id."""
    config: AdaptConfig | None = None
    """Training settings; the defaults if ``None``."""
    people: Sequence[str] = ()
    """Ids of the people to train on; if empty, all people who are not in the test split."""
    exclude: Sequence[str] = ()
    """Ids of people to exclude from training, with their items in other people's histories."""
    profiles: Path | None = None
    """Folder of profiles; required if ``config.context.profile`` is on."""


@dataclass(frozen=True, kw_only=True)
class BaseCheckRequest:
    """The arguments of ``check_base``: the base model, and how to run it."""

    base: str
    """The base model: ``default`` (bundled), a folder, or ``hub:`` and a hub id."""
    dtype: DtypeName = "auto"
    """``float32``, ``bfloat16``, or ``auto``."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``mps``, or ``auto``."""


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """The arguments of ``predict``: the question and the person."""

    store: Path
    """Folder of adapters or of recipes."""
    person: str
    """Id of the person whose adapter answers."""
    text: str
    """The question, in the input format of the store's task."""
    base: str | None = None
    """Current location of the store's base model, if it has moved."""
    data: Path | None = None
    """The person's dataset; required if the adapters were trained with retrieval."""
    profiles: Path | None = None
    """Folder of profiles; required if the adapters were trained with profiles."""
    pool: Path | None = None
    """Current location of the recipes' pool, if it has moved."""
    quantize: QuantizeName | None = None
    """How to quantize the base model; by default as the adapters were made."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The arguments of ``export``: the adapter to write and its format."""

    store: Path
    """Folder of adapters or of recipes."""
    person: str
    """Id of the person whose adapter is written."""
    out: Path
    """Folder to write."""
    format: str = "peft"
    """The file format; ``peft`` is the only one."""
    on: Literal["base", "public"] = "base"
    """The base model that the exported adapter is for: ``base`` is the store's own base model;
    ``public`` is the model that this base was task-adapted from, and the export then also contains
    the task adapter."""
    base: str | None = None
    """Current location of the store's base model, if it has moved."""
    pool: Path | None = None
    """Current location of the recipes' pool, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class ImportAdapterRequest:
    """The arguments of ``import_adapter``: the PEFT adapter, the store, and the person."""

    folder: Path
    """Folder of the adapter in PEFT's format."""
    store: Path
    """Folder of the adapters; must exist."""
    person: str
    """Id of the person who gets the adapter."""
    base: str | None = None
    """Current location of the store's base model, if it has moved."""
    replace: bool = False
    """Replace an existing adapter of the person."""


@dataclass(frozen=True, kw_only=True)
class ConsentRequest:
    """The arguments of ``consent``: the people, the scope, and how long the consent is valid."""

    store: Path
    """Folder of the adapters."""
    people: Sequence[str]
    """Ids of the people who give or revoke consent."""
    scope: Scope
    """``pieces`` (pieces of the adapter go into a pool) or ``mean`` (the adapter becomes part of
    a mean of adapters)."""
    until: date | None = None
    """The last day on which the consent is valid (UTC); no end if ``None``."""
    revoke: bool = False
    """Revoke the consent instead of recording it."""


@dataclass(frozen=True, kw_only=True)
class UnlearnRequest:
    """The arguments of ``unlearn``: the model, and what to forget and to retain."""

    target: str | Path
    """The model: ``default``, a folder or ``hub:`` id of a base model, a folder of an adapter in
    PEFT's format, or a store of adapters (with ``person``)."""
    out: Path
    """Folder for the result: a base model, or an adapter in PEFT's format."""
    forget: str | Path
    """The forget set: a file of prompts and responses, or ``pyrit`` or ``truthfulqa``."""
    retain: str | Path
    """The retain set: a file of prompts and responses, or ``pyrit`` or ``truthfulqa``."""
    config: UnlearnConfig | None = None
    """The method and its settings; the defaults if ``None``."""
    person: str | None = None
    """Id of the person; required if ``target`` is a store."""
    base: str | None = None
    """Current location of an adapter's base model, if it has moved."""
    pool: Path | None = None
    """Current location of the recipes' pool, if it has moved."""


@dataclass(frozen=True, kw_only=True)
class ScorecardRequest:
    """The arguments of ``scorecard``: the models before and after unlearning, and the prompts."""

    before: str | Path
    """The model before unlearning: ``default``, a folder or ``hub:`` id of a base model, or a
    folder of an adapter in PEFT's format."""
    after: Sequence[str | Path]
    """The models after unlearning, one or more."""
    out: Path
    """Folder for the report."""
    forget: str | Path
    """The forget set: a file of prompts and responses, or ``pyrit`` or ``truthfulqa``."""
    retain: str | Path
    """The retain set, in the same forms. Prefer prompts that were not trained on, here and in
    ``forget``."""
    unseen: str | Path | None = None
    """Harmful prompts that were not in the forget set, with or without responses."""
    judge: str = "default"
    """The judge that decides what is harmful: ``default``, ``guard:MODEL``, ``ask:MODEL``,
    ``label:LABEL:MODEL``, or ``http://HOST/v1#MODEL``."""
    base: str | None = None
    """Current location of the adapters' base model, if it has moved."""
    config: ScorecardConfig | None = None
    """The measurements to run; the defaults if ``None``."""


@dataclass(frozen=True, kw_only=True)
class SuppressionListRequest:
    """The arguments of ``edit_suppression_list``: a list, and people to look up or take off."""

    file: Path
    """The list, as ``forget`` writes it."""
    people: Sequence[str] = ()
    """Ids to look up."""
    task: str = ""
    """The task of ids that are plain numbers."""
    remove: bool = False
    """Take these people off the list."""


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """The arguments of ``forget``: the person or records to delete, and the folders to search."""

    data: Path
    """Folder of the dataset."""
    adapters: Path
    """Folder of the adapters."""
    person: str
    """Id of the person to delete, or of the owner of the records."""
    records: Sequence[str] = ()
    """Ids of the records to delete; the whole person if empty."""
    gone: Path | None = None
    """File of prompts and responses that the adapter was trained on and that are no longer in
    ``data``. The adapter is negated on them, which is approximate."""
    within: Sequence[Path] = ()
    """Folders to search; if empty, the parent folders of ``data`` and ``adapters``."""
    base: str | None = None
    """Current location of the store's base model, if it has moved."""
    profiles: Path | None = None
    """Folder of profiles; required if the adapters were trained with profiles."""
    config: ForgetConfig | None = None
    """What happens to other people's adapters and records; the defaults if ``None``."""
    negating: UnlearnConfig | None = None
    """Settings of the negation, with ``gone``; the defaults if ``None``."""
    verify: bool = False
    """Search every byte of the folders afterwards; matches are in the receipt's ``left``, and what
    could not be searched is in ``unsearched``."""
    receipt: Path | None = None
    """File to write the receipt to, with keyed hashes of what was deleted. If it exists, a
    verification searches for these as well, after the words themselves are gone."""
    on_erased: Callable[[Receipt], None] | None = None
    """Called with the receipt after everything is deleted, and before the search begins."""
    dry_run: bool = False
    """Report what would be deleted, and change nothing."""
    wait: bool = True
    """Wait if another process writes an artifact that must change; otherwise raise BusyError."""
