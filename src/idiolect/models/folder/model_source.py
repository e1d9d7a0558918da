"""Names where a model comes from: the bundled one, a folder, or the Hugging Face hub.

A folder's path and a hub id look alike, so a hub id is written with a prefix. A folder that is
missing is then never asked for at the hub, where its name would end up, and where a model of that
name may be another person's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from idiolect.errors import MissingError
from idiolect.models.erasure import reject_removed_base
from idiolect.models.folder.bundled import BUNDLED_HUB_ID
from idiolect.models.folder.folder_forms import require_config, require_folder
from idiolect.models.folder.load_errors import describe_load_error

DEFAULT = "default"
HUB_PREFIX = "hub:"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def normalize_source(source: str | Path) -> str:
    """Return a source that means the same from any working folder: a folder with its whole path."""
    text = str(source)
    if text == DEFAULT or text.startswith(HUB_PREFIX):
        return text
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 - resolves "..", but no links


def find_model_folder(source: str | Path, *, what: str = "model") -> Path:
    """Return the folder of a model's files: a local folder, or a hub id's in the hub's cache, where
    it is downloaded if it is missing.

    Raises MissingError if there is none, MismatchError if it is an adapter's folder. Only a source
    with the prefix ``hub:`` is asked for at the hub.
    """
    text = str(source)
    if text.startswith(HUB_PREFIX):
        path = _download_model(text.removeprefix(HUB_PREFIX), what)
    else:
        path = Path(text).expanduser()
        require_folder(path, what)
        if not path.is_dir():
            hint = f"; for a model on the hub, write {HUB_PREFIX}{text}" if _is_hub_id(text) else ""
            raise MissingError(
                f"{text}: no {what} folder there; if a base has moved, name its folder with --base"
                f"{hint}"
            )
        reject_removed_base(path)
    require_config(path, what)
    return path


def require_base_files(source: str) -> None:
    """Raise MissingError if a base in a local folder is not there; nothing is loaded."""
    if source != DEFAULT and not source.startswith(HUB_PREFIX):
        find_model_folder(source)


def get_public_name(source: str, name: str) -> str:
    """Return the name of a base for other people's tools: its hub id, or a folder's name without
    the path, which would tell about this machine."""
    if source == DEFAULT:
        return BUNDLED_HUB_ID
    return source.removeprefix(HUB_PREFIX) if source.startswith(HUB_PREFIX) else name


def shorten_base_name(name: str) -> str:
    """Return the last part of a path or hub id, in lower case, to compare names of bases."""
    return Path(name.removeprefix(HUB_PREFIX)).name.casefold()


def _is_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and not text.startswith(".")


def _download_model(hub_id: str, what: str) -> Path:
    """Return the folder of a hub id's files in the hub's cache."""
    if not _is_hub_id(hub_id):
        raise MissingError(f"{HUB_PREFIX}{hub_id}: is not a hub id; write {HUB_PREFIX}OWNER/NAME")
    # Imported here because most runs never use the hub.
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "tokenizer.model", "*.jinja", "*.txt"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except Exception as error:  # the hub client's errors share no base class
        raise MissingError(
            f"{HUB_PREFIX}{hub_id}: the hub does not provide this {what} "
            f"({describe_load_error(error)}); name a folder, or another model"
        ) from error
