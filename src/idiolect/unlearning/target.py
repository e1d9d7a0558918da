"""What a verb is asked to unlearn: a base, an exported adapter, or somebody's in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.adapters.formats.peft import CONFIG_FILE, load_peft
from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.store.source import get_usable_adapter
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError, UsageError
from idiolect.models.base import Base, load_base
from idiolect.models.device import DtypeName
from idiolect.pieces.recipes.sources import open_source
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.storage.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class UnlearnTarget:
    """A model to unlearn, in memory, and what is known of it."""

    base: Base
    adapter: LoraAdapter | None = None
    base_name: str = ""
    """How an adapter's folder names its base."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What its manifest says beside base and kind, e.g. whose pieces it is made of."""

    @property
    def kind(self) -> str:
        """``base`` or ``adapter``."""
        return "base" if self.adapter is None else "adapter"


def open_target(
    target: str,
    *,
    person: str | None = None,
    base: str | None = None,
    pool: Path | None = None,
    dtype: DtypeName = "auto",
    device: str = "auto",
) -> UnlearnTarget:
    """Open what ``target`` names: ``default``, a model's folder or hub id; a folder in PEFT's
    format; a store of adapters or recipes, of which ``person``'s is meant.

    ``base``: the adapter's base, the embedded one unless said. Raises UsageError where that or the
    person does not fit the kind, MismatchError for another base than the adapter's.
    """
    folder = Path(target)
    is_store = any((folder / kind.HEADER_FILE).is_file() for kind in (AdapterStore, RecipeStore))
    is_adapter = (folder / CONFIG_FILE).is_file()
    if person is not None and not is_store:
        raise UsageError(f"{target}: is no store of adapters, so there is nobody's to name")
    if is_store:
        return _open_from_store(folder, person, base, pool, dtype, device)
    if is_adapter:
        loaded = load_base(base or "default", dtype=dtype, device=device)
        about = _read_provenance(folder)
        name = str(about.pop("name", loaded.name))
        return UnlearnTarget(
            base=loaded,
            adapter=require_lora(load_peft(folder, loaded)),
            base_name=name,
            provenance=about,
        )
    if base is not None:
        raise UsageError(f"{target}: is no adapter, so it is on no base; leave --base out")
    return UnlearnTarget(base=load_base(target, dtype=dtype, device=device))


def _open_from_store(
    folder: Path,
    person: str | None,
    base: str | None,
    pool: Path | None,
    dtype: DtypeName,
    device: str,
) -> UnlearnTarget:
    if person is None:
        raise UsageError(f"{folder}: is a store of many people's adapters; name one with --person")
    source = open_source(folder, pool)
    adapter = get_usable_adapter(source, person)
    if adapter is None:
        record = source.get_record(person)
        why = f"the base serves them ({record.served})" if record else "it does not know them"
        raise MissingError(f"{folder}: there is no adapter of {person!r}: {why}")
    loaded = load_base(base or source.base_source, dtype=dtype, device=device)
    source.check_compatible(base=loaded.identity)
    name = source.base_name if source.base_source == "default" else source.base_source
    return UnlearnTarget(
        base=loaded,
        adapter=require_lora(adapter),
        base_name=name,
        provenance=source.provenance(person),
    )


def _read_provenance(folder: Path) -> dict[str, Any]:
    """What an exported adapter's manifest says of it; nothing where PEFT alone wrote it."""
    if not (folder / Manifest.NAME).is_file():
        return {}
    config = dict(Manifest.read_unchecked(folder).config)
    return {name: value for name, value in config.items() if name != "lora"}
