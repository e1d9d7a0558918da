"""What was unlearned as a folder: a base merged, an adapter with its ranks stacked.

The delta itself is never written: it is the model that should not be. Whoever has both the model
before and the one after can work it out, so what should not be had is not to be passed on either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idiolect.adapters.formats.peft import check_destination, save_peft
from idiolect.errors import UsageError
from idiolect.models.weights import rewrite_base, save_base_manifest
from idiolect.prompts.chat_template import encode_invocation
from idiolect.storage.files import stage_folder
from idiolect.storage.manifest import Manifest
from idiolect.training.adapt_base import read_contributors
from idiolect.unlearning.run import UnlearnResult
from idiolect.unlearning.target import UnlearnTarget
from idiolect.unlearning.task_arithmetic import weight_updates


def require_publishable(target: UnlearnTarget, out: Path) -> None:
    """Raise UsageError where ``out`` is taken, or the base has no files to be written anew."""
    check_destination(out)
    if target.adapter is None and target.base.folder is None:
        raise UsageError("a base made in memory cannot be published; save it as a folder first")


def publish_model(
    target: UnlearnTarget, made: UnlearnResult, out: Path, about: Mapping[str, Any]
) -> None:
    """Write the model after unlearning, whole or not at all; equal runs give equal bytes.

    ``about``: what the manifest says of how it was made.
    """
    if target.adapter is None:
        _publish_base(target, made, out, about)
        return
    assert made.adapter is not None
    active = made.adapter.config.active == "answer"
    save_peft(
        out,
        made.adapter,
        base_name=target.base_name,
        invocation=encode_invocation(target.base.tokenizer) if active else (),
        about={**target.provenance, "unlearned": [*target.provenance.get("unlearned", ()), about]},
    )


def _publish_base(
    target: UnlearnTarget, made: UnlearnResult, out: Path, about: Mapping[str, Any]
) -> None:
    """The weights, merged in fp32, as a base folder that names its parent and its people."""
    base = target.base
    assert base.folder is not None
    known = (
        Manifest.read_unchecked(base.folder).config
        if (base.folder / Manifest.NAME).is_file()
        else {}
    )
    with stage_folder(out) as folder:
        rewrite_base(base.folder, folder, weight_updates(made.delta, made.factor))
        save_base_manifest(
            folder,
            name=f"{base.name}-{about['method']}",
            source=base.source,
            contributors=read_contributors(base),
            parent=base.identity,
            unlearned=[*known.get("unlearned", ()), about],
        )
