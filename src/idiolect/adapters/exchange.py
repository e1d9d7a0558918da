"""Adapters out of a store into PEFT's format and back in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idiolect.adapters.consent import ledger_of
from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.mean import mean_adapter
from idiolect.adapters.peft_format import load_peft, require_room, save_peft, weights_of
from idiolect.adapters.ranks import stack_ranks
from idiolect.adapters.store import AdapterStore, Record
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.models import Base, invocation_of, load_base
from idiolect.storage import Manifest, require_consent

TASK_ADAPTER = "task_adapter"
"""The folder, in an adapted base, of the LoRA that was merged into it."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An adapter that was taken into a store."""

    store: Path
    person: str
    bytes: int


def export_adapter(
    store: Path,
    person: str,
    out: Path,
    *,
    on: Literal["base", "public"] = "base",
    base: str | None = None,
) -> Path:
    """See ``api.export``."""
    opened = AdapterStore.open(store)
    adapter = _adapter_of(opened, person)
    name = _name_of_base(opened)
    if on == "public":
        adapter, name = _on_public(opened, adapter, base)
    save_peft(out, adapter, base_name=name, invocation=_invocation(opened, adapter, base))
    return out


def export_mean(store: Path, people: Sequence[str], out: Path, *, base: str | None = None) -> Path:
    """See ``api.mean``.

    The ledger is told before the adapter is there: a kill in between leaves an event of a share
    that was not made, never a share without an event.
    """
    opened = AdapterStore.open(store)
    ledger, names = ledger_of(opened), tuple(dict.fromkeys(people))
    adapters = [_adapter_of(opened, person) for person in names]
    require_consent(ledger, names, "mean", store=store)
    adapter = mean_adapter(adapters)
    invocation = _invocation(opened, adapter, base)
    require_room(out)
    made = hashlib.sha256(weights_of(adapter)).hexdigest()
    ledger.record("shared", names, {"scope": "mean", "of": len(names), "sha256": made})
    save_peft(
        out,
        adapter,
        base_name=_name_of_base(opened),
        invocation=invocation,
        about={"mean_of": len(names)},
    )
    return out


def _name_of_base(store: AdapterStore) -> str:
    return store.base_name if store.base_source == "default" else store.base_source


def _invocation(store: AdapterStore, adapter: LoraAdapter, base: str | None) -> tuple[int, ...]:
    """What calls an adapter that acts on answers only; needs the base's tokenizer."""
    if adapter.config.active != "answer":
        return ()
    return invocation_of(base_of(store, base).tokenizer)


def take_adapter(
    folder: Path, store: Path, person: str, *, base: str | None = None, replace: bool = False
) -> Taken:
    """See ``api.import_adapter``."""
    opened = AdapterStore.open(store)
    loaded = base_of(opened, base)
    adapter = load_peft(folder, loaded)
    if not adapter.config.same_kind(opened.lora):
        raise MismatchError(
            f"{folder}: {adapter.config} is not what the store holds, {opened.lora}; "
            "make a store of that kind for it"
        )
    with opened.writing():
        known = opened.record(person)
        if known is not None and known.row is not None and not replace:
            raise UsageError(
                f"{store}: {person!r} has an adapter there; ask to replace it (--replace)"
            )
        opened.add([(Record(person=person, served="adapter", made_by="imported"), adapter)])
        opened.compact()
    return Taken(store=store, person=person, bytes=adapter.bytes)


def base_of(store: AdapterStore, base: str | None) -> Base:
    """The base that a store was made for; raises MismatchError where it is another now."""
    settings = store.settings
    loaded = load_base(
        base or store.base_source,
        dtype=settings.get("dtype", "auto"),
        device=settings.get("device", "auto"),
    )
    store.require(base=loaded.identity)
    return loaded


def _adapter_of(store: AdapterStore, person: str) -> LoraAdapter:
    adapter = store.adapter(person)
    if adapter is None:
        record = store.record(person)
        why = f"is served by the base ({record.served})" if record else "is not in it"
        raise MissingError(f"{store.folder}: there is no adapter of {person!r}, who {why}")
    return adapter


def _on_public(
    store: AdapterStore, adapter: LoraAdapter, base: str | None
) -> tuple[LoraAdapter, str]:
    """A person's adapter and the task adapter of its base as one, for the public base."""
    folder = Path(store.base_source)
    if adapter.config.active == "answer":
        raise UsageError(
            f"{store.folder}: its adapters act on answers only, the task's adapter acts on every "
            "token: no single adapter can do both; export on the base itself"
        )
    task_adapter = folder / TASK_ADAPTER
    if not task_adapter.is_dir():
        raise UsageError(
            f"{store.folder}: its base {store.base_source} holds no task adapter, so there is "
            "nothing to stack; export on the base itself"
        )
    source = base or str(Manifest.peek(folder).config.get("source", ""))
    public = load_base(source)
    return stack_ranks(load_peft(task_adapter, public), adapter), public.name
