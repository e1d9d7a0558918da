"""Adapters out of a store into PEFT's format and back in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from idiolect.adapters.arithmetic.concat import stack_ranks
from idiolect.adapters.arithmetic.mean import mean_adapter
from idiolect.adapters.formats.peft import load_peft, require_room, save_peft, weights_of
from idiolect.adapters.lora import require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.consent import ledger_of
from idiolect.adapters.store.source import AdapterSource, sharers_in, usable_adapter
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.models.base import Base, load_base
from idiolect.privacy.consent import require_consent
from idiolect.prompts.chat_template import invocation_of
from idiolect.storage.manifest import Manifest

TASK_ADAPTER = "task_adapter"
"""The folder, in an adapted base, of the LoRA that was merged into it."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An adapter that was taken into a store."""

    store: Path
    person: str
    bytes: int


def export_adapter(
    source: AdapterSource,
    person: str,
    out: Path,
    *,
    on: Literal["base", "public"] = "base",
    base: str | None = None,
) -> Path:
    """See ``api.export``."""
    adapter = _adapter_of(source, person)
    name = _name_of_base(source)
    if on == "public":
        adapter, name = _on_public(source, adapter, base)
    save_peft(
        out,
        adapter,
        base_name=name,
        invocation=_invocation(source, adapter, base),
        about=source.made_of(person),
    )
    return out


def export_mean(
    store: AdapterStore, people: Sequence[str], out: Path, *, base: str | None = None
) -> Path:
    """See ``api.mean``.

    The ledger is told before the adapter is there: a kill in between leaves an event of a share
    that was not made, never a share without an event.
    """
    ledger, names = ledger_of(store), tuple(dict.fromkeys(people))
    adapters = [require_lora(_adapter_of(store, person)) for person in names]
    require_consent(ledger, names, "mean", store=store.folder)
    adapter = mean_adapter(adapters)
    invocation = _invocation(store, adapter, base)
    require_room(out)
    made = hashlib.sha256(weights_of(adapter)).hexdigest()
    ledger.record("shared", names, {"scope": "mean", "of": len(names), "sha256": made})
    save_peft(
        out,
        adapter,
        base_name=_name_of_base(store),
        invocation=invocation,
        about={"mean_of": len(names), **_made_of_all(store, names)},
    )
    return out


def _made_of_all(store: AdapterStore, people: Sequence[str]) -> dict[str, Any]:
    """What ``made_of`` says of some people together."""
    made = [found for person in people if (found := store.made_of(person))]
    sharers = sorted({sharer for found in made for sharer in found["sharers"]})
    return {"pool": made[0]["pool"], "sharers": sharers} if made else {}


def _name_of_base(store: AdapterSource) -> str:
    return store.base_name if store.base_source == "default" else store.base_source


def _invocation(store: AdapterSource, adapter: Adapter, base: str | None) -> tuple[int, ...]:
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
    if not adapter.config.same_kind(opened.adapter_config):
        raise MismatchError(
            f"{folder}: {adapter.config} is not what the store holds, {opened.adapter_config}; "
            "make a store of that kind for it"
        )
    with opened.writing():
        known = opened.record(person)
        if known is not None and known.row is not None and not replace:
            raise UsageError(
                f"{store}: {person!r} has an adapter there; ask to replace it (--replace)"
            )
        record = Record(
            person=person, served="adapter", made_by="imported", sharers=sharers_in(folder)
        )
        opened.add([(record, adapter)])
        opened.compact()
    return Taken(store=store, person=person, bytes=adapter.bytes)


def base_of(
    store: AdapterSource, base: str | None, *, load: Callable[..., Base] = load_base
) -> Base:
    """The base that adapters were made for; raises MismatchError where it is another now."""
    settings = store.settings
    loaded = load(
        base or store.base_source,
        dtype=settings.get("dtype", "auto"),
        device=settings.get("device", "auto"),
    )
    store.require(base=loaded.identity)
    return loaded


def _adapter_of(store: AdapterSource, person: str) -> Adapter:
    adapter = usable_adapter(store, person)
    if adapter is None:
        record = store.record(person)
        why = f"is served by the base ({record.served})" if record else "is not in it"
        raise MissingError(f"{store.folder}: there is no adapter of {person!r}, who {why}")
    return adapter


def _on_public(store: AdapterSource, adapter: Adapter, base: str | None) -> tuple[Adapter, str]:
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
    task = require_lora(load_peft(task_adapter, public))
    return stack_ranks(task, require_lora(adapter)), public.name
