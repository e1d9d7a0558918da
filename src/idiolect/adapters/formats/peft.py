"""One adapter as a folder in PEFT's format: for vLLM, llama.cpp's converter, the hub, and back.

``adapter_config.json`` and ``adapter_model.safetensors`` are what PEFT writes and reads; our
``manifest.json`` beside them, which PEFT does not look at, binds them to a base and holds
checksums. Whose adapter it is stands nowhere. Pickled weights are never read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from idiolect.adapters.formats.peft_config import ALL_LINEAR, PeftLora, parse_config, render_config
from idiolect.adapters.lora import LoraAdapter, LoraConfig, Site, depth, layer_of, sites
from idiolect.config import to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.prompts.chat_template import invocation_of
from idiolect.storage.files import explain_os_errors, staged_folder
from idiolect.storage.manifest import Manifest

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
_KEY = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<half>[AB])\.weight")
_Halves = Mapping[tuple[str, str], Tensor]
"""Tensors by (module path, "A" or "B")."""


def save_peft(
    folder: Path,
    adapter: LoraAdapter,
    *,
    base_name: str,
    invocation: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> None:
    """Write an adapter as PEFT does, whole or not at all; equal adapters give equal bytes.

    ``invocation``: the tokens that call an adapter which acts on answers only (``invocation_of``
    the base's tokenizer); PEFT then needs to be told, too. ``about``: what else its manifest says.
    Raises as ``require_room`` and ``weights_of``.
    """
    assert bool(invocation) == (adapter.config.active == "answer")
    require_room(folder, replace=replace)
    weights = weights_of(adapter)
    lora = to_plain(adapter.config) | {"targets": sorted(adapter.config.targets)}
    with staged_folder(folder, replace=replace) as staged:
        layers = sorted({layer_of(path) or 0 for path in adapter.pairs})
        config = render_config(
            adapter.config,
            base_name,
            layers=layers if adapter.config.top_layers else None,
            invocation=invocation or None,
        )
        (staged / CONFIG).write_bytes(config)
        (staged / WEIGHTS).write_bytes(weights)
        Manifest.of_folder(
            staged,
            kind="adapter",
            base=adapter.base,
            config={"name": base_name, "lora": lora, **(about or {})},
        ).save(staged)


def require_room(folder: Path, *, replace: bool = False) -> None:
    """Raise UsageError where the folder holds something already; with ``replace``: something else
    than an adapter."""
    taken = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if taken and not (replace and (folder / CONFIG).is_file()):
        raise UsageError(f"{folder}: is there already; give a folder that is not")


def weights_of(adapter: LoraAdapter) -> bytes:
    """The weights file of an adapter; raises IntegrityError where a number is not finite."""
    for path, pair in adapter.pairs.items():
        if not all(bool(torch.isfinite(t).all()) for t in pair):
            raise IntegrityError(f"adapter {path}: holds a number that is not finite")
    tensors = {
        f"base_model.model.{path}.lora_{half}.weight": tensor.detach().cpu().contiguous().clone()
        for path, pair in adapter.pairs.items()
        for half, tensor in zip("AB", pair, strict=True)
    }
    return save(tensors, metadata={"format": "pt"})


def load_peft(folder: Path, base: Base) -> LoraAdapter:
    """Read an adapter that we or PEFT wrote, in fp32 (fp64 where the base is).

    Modules that its config leaves out although others of the same name carry it (single layers)
    come back as zeros. Raises MissingError where no adapter is, IntegrityError for a damaged one or
    one in pickled form, MismatchError for another base or a kind that is not supported.
    """
    if not (folder / CONFIG).is_file():
        raise MissingError(f"{folder}: no adapter in PEFT's format there (it has no {CONFIG})")
    if (folder / Manifest.NAME).is_file():
        manifest = Manifest.load(folder, "adapter")
        manifest.require(folder, base=base.identity)
    with explain_os_errors("read", folder / CONFIG):
        config = parse_config((folder / CONFIG).read_bytes(), folder / CONFIG)
    halves = _read_halves(folder)
    try:
        return _assemble(config, halves, base)
    except (IntegrityError, MismatchError) as error:
        raise type(error)(f"{folder / WEIGHTS}: {error}") from error


def _read_halves(folder: Path) -> _Halves:
    """Every tensor of the weights file by what it is; raises for anything that is no A or B."""
    file = folder / WEIGHTS
    if not file.is_file():
        if (folder / PICKLED).exists():
            raise IntegrityError(
                f"{folder / PICKLED}: pickled weights are never loaded, they can run code; "
                "save the adapter as safetensors where you trust it"
            )
        raise MissingError(f"{folder}: has no {WEIGHTS}; the adapter is incomplete, copy it again")
    with explain_os_errors("read", file):
        data = file.read_bytes()
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"{file}: cut off or damaged ({error}); restore it from a copy"
        ) from error
    halves: dict[tuple[str, str], Tensor] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise MismatchError(
                f"{file}: holds {key!r}, which is no LoRA matrix of a linear module; "
                "only plain LoRA adapters are supported"
            )
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise MismatchError(f"{file}: {key!r} is {tensor.dtype}, which is not supported")
        halves[match["path"], match["half"]] = tensor
    return halves


def _assemble(config: PeftLora, halves: _Halves, base: Base) -> LoraAdapter:
    """The adapter of these matrices, checked against the config and the base."""
    named = _named_sites(config, base)
    paths = {path for path, _ in halves}
    for path in sorted(paths - set(named)):
        raise MismatchError(
            f"module {path!r} is not in the base {base.name}, or not among the config's "
            "target_modules; load it with the base it was trained on"
        )
    for (path, half), tensor in halves.items():
        if tensor.dim() != 2 or tensor.shape["AB".index(half)] != config.rank:
            raise MismatchError(
                f"lora_{half} of {path!r} has shape {tuple(tensor.shape)}, the config rank "
                f"{config.rank}; the two files do not belong together"
            )
    names = {path.rpartition(".")[2] for path in named}
    ours = LoraConfig(
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        targets=tuple(sorted(names)),
        active=_active(config, base),
        top_layers=_top_layers(config, base),
    )
    wide = torch.float64 if base.dtype == torch.float64 else torch.float32
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for site in sites(base.model, ours):
        if site.path not in named:
            a = torch.zeros(config.rank, site.inputs, dtype=wide)
            pairs[site.path] = (a, torch.zeros(site.outputs, config.rank, dtype=wide))
            continue
        for half in "AB":
            if (site.path, half) not in halves:
                raise IntegrityError(f"lora_{half} of {site.path!r} is missing; copy it again")
        pairs[site.path] = (
            halves[site.path, "A"].to(wide, copy=True),
            halves[site.path, "B"].to(wide, copy=True),
        )
    return LoraAdapter(config=ours, base=base.identity, pairs=pairs).check(base)


def _active(config: PeftLora, base: Base) -> Literal["all", "answer"]:
    """Where it acts; raises MismatchError for tokens that do not ask for an answer here."""
    if not config.invocation:
        return "all"
    ours = invocation_of(base.tokenizer)
    if config.invocation != ours:
        raise MismatchError(
            f"alora_invocation_tokens {list(config.invocation)} are not what asks for an answer on "
            f"the base {base.name}, {list(ours)}; it can only be served where they are the same"
        )
    return "answer"


def _top_layers(config: PeftLora, base: Base) -> int:
    """How many of the last layers it names, 0 for all or for others than the last ones."""
    if not config.layers:
        return 0
    layers, count = depth(base.model), len(set(config.layers))
    last = set(range(layers - count, layers))
    return count if count < layers and set(config.layers) == last else 0


def _named_sites(config: PeftLora, base: Base) -> dict[str, Site]:
    """The base's linear modules that the config names."""
    head = base.model.get_output_embeddings()
    named = {
        path: Site(path, module.in_features, module.out_features)
        for path, module in base.model.named_modules()
        if isinstance(module, nn.Linear) and config.covers(path)
        if not (module is head and config.targets == ALL_LINEAR)  # PEFT leaves it out there
    }
    for path in named:
        if base.model.get_submodule(path) is head:
            raise MismatchError(f"adapters on the output head ({path!r}) are not supported")
    if not named:
        raise MismatchError(
            f"target_modules {config.targets!r} name no linear module of the base {base.name}"
        )
    return named
