"""Whatever `make setup` installs is pinned by version and by hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from idiolect.storage.data_packages import DATA_PACKAGES
from requirements import lock

pytestmark = pytest.mark.finding("install-hashes")


def iter_entries(path: Path) -> Iterator[str]:
    """Yield the entries of a requirements file, each with its continuation lines."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


@pytest.mark.parametrize(
    "path",
    [
        lock.CONSTRAINTS,
        lock.DATA_PACKAGES,
        lock.ROOT / "requirements" / "build.txt",
        lock.ROOT / "requirements" / "torch-cpu.txt",
    ],
    ids=lambda path: path.name,
)
def test_every_entry_has_a_version_and_hashes(path: Path) -> None:
    entries = list(iter_entries(path))
    pattern = r"[\w.-]+==[\w.+]+( +;[^\\]*?)?( +--hash=sha256:[0-9a-f]{64})+ *"
    assert entries and [entry for entry in entries if not re.fullmatch(pattern, entry)] == []


def test_requirements_follow_pyproject_and_constraints() -> None:
    assert lock.main(["--check"]) == 0


def test_read_pins_reads_names_and_versions() -> None:
    text = "# old==1\nPy_Yaml==6.0 \\\n    --hash=sha256:ab==\ntorch==2.1+cpu ; x\n"
    assert lock.read_pins(text) == {"py-yaml": "6.0", "torch": "2.1+cpu"}


def test_every_extra_is_installed_by_a_step() -> None:
    project = tomllib.loads((lock.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = {extra for extras in lock.STEPS.values() for extra in extras}
    assert installed == {"", *project["optional-dependencies"]}


def test_data_packages_are_those_the_program_looks_for() -> None:
    pins = lock.read_pins(lock.DATA_PACKAGES.read_text(encoding="utf-8"))
    assert {f"{name}=={version}" for name, version in pins.items()} == {*DATA_PACKAGES.values()}


def test_makefile_installs_by_hash_only() -> None:
    text = (lock.ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    text = text.replace("$(HASHED)", "$(PIP) --require-hashes").replace("$(PIP)", "pip install")
    installs = [
        line for line in text.splitlines() if line.startswith("\t") and "pip install" in line
    ]
    assert len(installs) > 6
    # The package itself is the folder; uv only writes the files of pins.
    others = [line for line in installs if "--require-hashes" not in line]
    assert [line.split("pip install ")[1] for line in others] == [
        "--no-deps --no-build-isolation -e .",
        "uv",
    ]
