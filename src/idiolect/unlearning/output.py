"""What was unlearned as a folder: a base merged, an adapter with its ranks stacked.

The delta itself is never written: it is the model that should not be. Whoever has both the model
before and the one after can work it out, so what should not be had is not to be passed on either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idiolect.adapters.formats.peft import require_room, save_peft
from idiolect.errors import UsageError
from idiolect.models.weights import rewrite_base, save_base_manifest
from idiolect.prompts.chat_template import invocation_of
from idiolect.storage.files import staged_folder
from idiolect.storage.manifest import Manifest
from idiolect.training.adapt_base import contributors_of
from idiolect.unlearning.run import Unlearned
from idiolect.unlearning.target import Target
from idiolect.unlearning.task_arithmetic import changes


def require_publishable(target: Target, out: Path) -> None:
    """Raise UsageError where ``out`` is taken, or the base has no files to be written anew."""
    require_room(out)
    if target.adapter is None and target.base.folder is None:
        raise UsageError("a base made in memory cannot be published; save it as a folder first")


def publish(target: Target, made: Unlearned, out: Path, about: Mapping[str, Any]) -> None:
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
        invocation=invocation_of(target.base.tokenizer) if active else (),
        about={**target.about, "unlearned": [*target.about.get("unlearned", ()), about]},
    )


def _publish_base(target: Target, made: Unlearned, out: Path, about: Mapping[str, Any]) -> None:
    """The weights, merged in fp32, as a base folder that names its parent and its people."""
    base = target.base
    assert base.folder is not None
    known = Manifest.peek(base.folder).config if (base.folder / Manifest.NAME).is_file() else {}
    with staged_folder(out) as folder:
        rewrite_base(base.folder, folder, changes(made.delta, made.factor))
        save_base_manifest(
            folder,
            name=f"{base.name}-{about['method']}",
            source=base.source,
            contributors=contributors_of(base),
            parent=base.identity,
            unlearned=[*known.get("unlearned", ()), about],
        )
