"""The site's data folder, readable only by its owner."""

from __future__ import annotations

import os
from pathlib import Path

from idiolect.storage.files import explain_os_errors
from idiolect.storage.permissions import make_folder


def get_data_dir() -> Path:
    """Return ``IDIOLECT_HOME``, else ``idiolect`` in the user's data folder (``XDG_DATA_HOME``)."""
    site_home = os.environ.get("IDIOLECT_HOME", "")
    if site_home:
        return Path(site_home).expanduser().absolute()
    data_home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "idiolect"


def make_data_dir() -> Path:
    """Create the data folder with mode 0700 if it does not exist, and return it.

    An existing folder keeps its mode: its owner may share it with a group on purpose.
    """
    folder = get_data_dir()
    with explain_os_errors("make the site's folder", folder):
        make_folder(folder)
    return folder
