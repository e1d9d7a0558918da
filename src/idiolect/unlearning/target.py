"""Opens the model from which a command removes knowledge: a base, an exported adapter, or a
person's adapter in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from idiolect.adapters.formats.peft import CONFIG_FILE, load_peft
from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.store.source import get_usable_adapter, read_quantization
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.folder.model_source import get_public_name
from idiolect.models.load import load_base
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.pieces.recipes.sources import open_source
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.storage.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class UnlearnTarget:
    """A model from which knowledge will be removed, in memory, and its metadata."""

    base: Base
    adapter: LoraAdapter | None = None
    base_name: str = ""
    """The name of the base in an exported adapter's files."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Manifest entries other than base and kind, for example whose pieces the adapter is made
    of."""

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
    """Open ``target``: ``default``, a model's folder or hub id; a folder in PEFT format; or a store
    of adapters or recipes, from which ``person``'s is taken.

    ``base`` is the adapter's base, by default the bundled one. Raises UsageError if ``base`` or
    ``person`` does not apply to this kind of target, and MismatchError if the adapter was made for
    another base.
    """
    folder = Path(target)
    # What is in the folder decides the kind of target.
    is_store = any((folder / kind.HEADER_FILE).is_file() for kind in (AdapterStore, RecipeStore))
    is_adapter = (folder / CONFIG_FILE).is_file()
    if person is not None and not is_store:
        raise UsageError(f"{target}: is not a store of adapters, so --person does not apply")
    # One person's adapter from a store.
    if is_store:
        return _open_from_store(folder, person, base, pool, dtype, device)
    # An exported adapter; its manifest entries are carried over to the result.
    if is_adapter:
        made_on = cast("QuantizeName", read_quantization(folder))
        loaded = load_base(base or "default", dtype=dtype, device=device, quantize=made_on)
        about = _read_provenance(folder)
        name = str(about.pop("name", loaded.name))
        return UnlearnTarget(
            base=loaded,
            adapter=require_lora(load_peft(folder, loaded)),
            base_name=name,
            provenance=about,
        )
    # Anything else is a base model.
    if base is not None:
        raise UsageError(f"{target}: is not an adapter, so --base does not apply; omit it")
    return UnlearnTarget(base=load_base(target, dtype=dtype, device=device))


def _open_from_store(
    folder: Path,
    person: str | None,
    base: str | None,
    pool: Path | None,
    dtype: DtypeName,
    device: str,
) -> UnlearnTarget:
    """Load one person's adapter from a store of adapters or recipes, with its base."""
    if person is None:
        raise UsageError(f"{folder}: is a store of several people; choose one with --person")
    source = open_source(folder, pool)
    adapter = get_usable_adapter(source, person)
    if adapter is None:
        record = source.get_record(person)
        why = f"the base serves them ({record.served})" if record else "it is not in the store"
        raise MissingError(f"{folder}: no adapter of {person!r}: {why}")
    # The store checks that the loaded base is the one its adapters were trained on.
    loaded = load_base(
        base or source.base_source,
        dtype=dtype,
        device=device,
        quantize=source.settings.get("quantize", "none"),
    )
    source.check_compatible(base=loaded.identity)
    name = get_public_name(source.base_source, source.base_name)
    return UnlearnTarget(
        base=loaded,
        adapter=require_lora(adapter),
        base_name=name,
        provenance=source.provenance(person),
    )


def _read_provenance(folder: Path) -> dict[str, Any]:
    """Return the manifest entries of an exported adapter, or nothing if PEFT wrote it without a
    manifest."""
    if not (folder / Manifest.NAME).is_file():
        return {}
    config = dict(Manifest.read_unchecked(folder).config)
    return {name: value for name, value in config.items() if name != "lora"}
