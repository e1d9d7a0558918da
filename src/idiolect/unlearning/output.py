"""Writes an unlearned model to a folder: a merged base, or an adapter with concatenated ranks.

The delta itself is never written. For a method that negates, the base plus the delta is the harmful
model. Anyone who has the models before and after can compute the delta, so do not publish both if
the delta must stay private.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idiolect.adapters.formats.peft import check_destination, save_peft
from idiolect.errors import UsageError
from idiolect.models.folder.weights import rewrite_base, save_base_manifest
from idiolect.models.quantization.modules import require_plain_base
from idiolect.prompts.chat_template import encode_invocation
from idiolect.storage.files import stage_folder
from idiolect.storage.manifest import Manifest
from idiolect.training.adapt_base import read_contributors
from idiolect.unlearning.run import UnlearnResult
from idiolect.unlearning.target import UnlearnTarget
from idiolect.unlearning.task_arithmetic import weight_updates


def require_publishable(target: UnlearnTarget, out: Path) -> None:
    """Raise UsageError if ``out`` already exists, or if the base has no files to rewrite."""
    check_destination(out)
    if target.adapter is None:
        require_plain_base(target.base, "unlearning")
    if target.adapter is None and target.base.folder is None:
        raise UsageError(
            "a base that exists only in memory cannot be published; save it as a folder first"
        )


def publish_model(
    target: UnlearnTarget, result: UnlearnResult, out: Path, about: Mapping[str, Any]
) -> None:
    """Write the unlearned model atomically. Equal runs write equal bytes.

    ``about``: the manifest's record of how the model was made.
    """
    if target.adapter is None:
        _publish_base(target, result, out, about)
        return
    assert result.adapter is not None
    # An adapter that acts on answer tokens only needs the tokens that start an answer in its files.
    active = result.adapter.config.active == "answer"
    save_peft(
        out,
        result.adapter,
        base_name=target.base_name,
        invocation=encode_invocation(target.base.tokenizer) if active else (),
        about={**target.provenance, "unlearned": [*target.provenance.get("unlearned", ()), about]},
    )


def _publish_base(
    target: UnlearnTarget, result: UnlearnResult, out: Path, about: Mapping[str, Any]
) -> None:
    """Write the weights, merged in fp32, as a base folder whose manifest names the parent and the
    contributors."""
    base = target.base
    assert base.folder is not None
    # A base that was unlearned before keeps its earlier records.
    known = (
        Manifest.read_unchecked(base.folder).config
        if (base.folder / Manifest.NAME).is_file()
        else {}
    )
    with stage_folder(out) as folder:
        rewrite_base(base.folder, folder, weight_updates(base, result.delta, result.factor))
        save_base_manifest(
            folder,
            name=f"{base.name}-{about['method']}",
            source=base.source,
            contributors=read_contributors(base),
            parent=base.identity,
            unlearned=[*known.get("unlearned", ()), about],
        )
