"""Export of adapters from a store to PEFT's format, and import back into a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from idiolect.adapters.arithmetic.concat import concat_lora
from idiolect.adapters.formats.peft import (
    load_peft,
    save_peft,
)
from idiolect.adapters.lora import LoraConfig, require_lora, widen_lora
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import (
    AdapterSource,
    get_usable_adapter,
    read_quantization,
    read_sharers,
)
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.folder.model_source import get_public_name
from idiolect.models.load import load_base
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.prompts.chat_template import encode_invocation
from idiolect.storage.manifest import Manifest

TASK_ADAPTER_FOLDER = "task_adapter"
"""Subfolder of an adapted base with the LoRA that was merged into it."""


@dataclass(frozen=True, kw_only=True)
class ImportedAdapter:
    """Summary of an adapter that was imported into a store."""

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
    adapter = require_adapter(source, person)
    name = get_base_name(source)
    # The public base lacks the task adapter, so both adapters are exported as one.
    if on == "public":
        adapter, name = _concat_for_public_base(source, adapter, base)
    quantization = source.get_quantization(person)
    save_peft(
        out,
        adapter,
        base_name=name,
        invocation=get_invocation_ids(source, adapter, base),
        about={
            **source.provenance(person),
            **({"quantization": quantization} if quantization != "none" else {}),
        },
    )
    return out


def merge_provenance(store: AdapterStore, people: Sequence[str]) -> dict[str, Any]:
    """The provenance of several people's adapters together, for the manifest."""
    provenances = [found for person in people if (found := store.provenance(person))]
    sharers = sorted({sharer for found in provenances for sharer in found["sharers"]})
    return {"pool": provenances[0]["pool"], "sharers": sharers} if provenances else {}


def get_base_name(store: AdapterSource) -> str:
    """The name of the store's base in PEFT's config."""
    return get_public_name(store.base_source, store.base_name)


def get_invocation_ids(store: AdapterSource, adapter: Adapter, base: str | None) -> tuple[int, ...]:
    """The tokens that activate an adapter that acts on answers only; needs the base's tokenizer."""
    if adapter.config.active != "answer":
        return ()
    return encode_invocation(load_matching_base(store, base).tokenizer)


def import_adapter(
    folder: Path,
    store: Path,
    person: str,
    *,
    base: str | None = None,
    replace: bool = False,
) -> ImportedAdapter:
    """See ``api.import_adapter``."""
    # The adapter must fit both the base and the store's settings.
    opened = AdapterStore.open(store)
    loaded = load_matching_base(opened, base)
    adapter = load_peft(folder, loaded)
    if isinstance(opened.adapter_config, LoraConfig):
        adapter = widen_lora(require_lora(adapter), opened.adapter_config, loaded)
    if not adapter.config.is_same_kind(opened.adapter_config):
        raise MismatchError(
            f"{folder}: has {adapter.config.description}, and the store has "
            f"{opened.adapter_config.description}; import it into a store with the same settings"
        )
    with opened.lock_for_writing():
        # Read the record with the lock held, so that no other writer can replace it meanwhile.
        known = opened.get_record(person)
        if known is not None and known.row is not None and not replace:
            raise UsageError(
                f"{store}: {person!r} already has an adapter; use --replace to replace it"
            )
        # An imported adapter has no history, so only its origin is recorded.
        record = AdapterRecord(
            person=person,
            served="adapter",
            made_by="imported",
            sharers=read_sharers(folder),
            quantization=read_quantization(folder),
        )
        opened.add([(record, adapter)])
        # The replaced adapter's numbers must not stay on disk.
        opened.compact()
    return ImportedAdapter(store=store, person=person, bytes=adapter.num_bytes)


def load_matching_base(
    store: AdapterSource,
    base: str | None,
    *,
    quantize: QuantizeName | None = None,
    load: Callable[..., Base] = load_base,
) -> Base:
    """Load the base that the adapters were made for, quantized as the store's settings say if
    ``quantize`` does not; raises MismatchError if its weights differ."""
    # The base runs as in training: dtype and device come from the store's settings.
    settings = store.settings
    loaded = load(
        base or store.base_source,
        dtype=settings.get("dtype", "auto"),
        device=settings.get("device", "auto"),
        quantize=quantize or settings.get("quantize", "none"),
    )
    store.check_compatible(base=loaded.identity)
    return loaded


def require_adapter(store: AdapterSource, person: str) -> Adapter:
    adapter = get_usable_adapter(store, person)
    if adapter is None:
        record = store.get_record(person)
        why = f"is served by the base ({record.served})" if record else "is not in the store"
        raise MissingError(f"{store.folder}: no adapter for {person!r}, who {why}")
    return adapter


def _concat_for_public_base(
    store: AdapterSource, adapter: Adapter, base: str | None
) -> tuple[Adapter, str]:
    """Return the person's adapter and the base's task adapter as one, and the public base's
    name."""
    folder = Path(store.base_source)
    # An adapter on answers leaves the prompt to the bare base, which here is not the adapted one.
    if adapter.config.active == "answer":
        raise UsageError(
            f"{store.folder}: its adapters act on answers only, but the task adapter acts on every "
            "token; one adapter cannot do both; export for the adapted base instead"
        )
    task_adapter = folder / TASK_ADAPTER_FOLDER
    if not task_adapter.is_dir():
        raise UsageError(
            f"{store.folder}: its base {store.base_source} has no task adapter to add; export "
            "for the base itself"
        )
    # The manifest of an adapted base names the base that it was adapted from.
    source = base or str(Manifest.read_unchecked(folder).config.get("source", ""))
    public = load_base(source)
    task = require_lora(load_peft(task_adapter, public))
    return concat_lora(task, require_lora(adapter)), get_public_name(public.source, public.name)
