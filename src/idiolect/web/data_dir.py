"""Where the site keeps its things: one folder, readable by its owner alone. Knows paths only."""

from __future__ import annotations

import os
from pathlib import Path

from idiolect.storage.files import explain_os_errors


def get_data_dir() -> Path:
    """``IDIOLECT_HOME``, else ``idiolect`` in the user's data folder (``XDG_DATA_HOME``)."""
    named = os.environ.get("IDIOLECT_HOME", "")
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data else Path.home() / ".local" / "share") / "idiolect"


def make_data_dir() -> Path:
    """The folder, made with mode 0700 where it is not there.

    A folder that is there keeps its mode: somebody may share it with a group on purpose.
    """
    folder = get_data_dir()
    with explain_os_errors("make the site's folder", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
