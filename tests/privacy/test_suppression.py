"""The suppression list: who and what is on it, and that it tells nothing without an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.privacy.suppression import SuppressionList

pytestmark = pytest.mark.finding("returning-person")


def test_suppression_list_keeps_people_and_records(tmp_path: Path) -> None:
    path = tmp_path / "suppressed.json"
    known = SuppressionList(path)
    assert not known.contains_person("annabel", "reply") and not path.exists()
    assert known.add_person("annabel", "reply") and not known.add_person("annabel", "reply")
    assert known.add_records("bart", "reply", ["c1", "c2"])
    assert not known.add_records("bart", "reply", ["c2"])
    again = SuppressionList(path)
    assert again.contains_person("annabel", "rating") and not again.contains_person("bart", "reply")
    assert again.find_records("bart", "reply", ["c2", "c3"]) == {"c2"}
    assert again.find_records("cress", "reply", ["c2"]) == frozenset()
    assert (again.people_count, again.record_count) == (1, 2)
    raw = path.read_text()
    assert "annabel" not in raw and "bart" not in raw and "c1" not in raw.split('"')
    assert path.stat().st_mode & 0o077 == 0, "only the owner can read it"


def test_suppression_list_separates_equal_numbers_of_other_tasks(tmp_path: Path) -> None:
    known = SuppressionList(tmp_path / "s.json")
    known.add_person("7", "rating")
    assert known.contains_person("7", "rating") and not known.contains_person("7", "reply")


def test_suppression_list_takes_people_off(tmp_path: Path) -> None:
    known = SuppressionList(tmp_path / "s.json")
    known.add_person("ann", "reply")
    assert known.remove_person("ann", "reply") and not known.remove_person("ann", "reply")
    assert not SuppressionList(tmp_path / "s.json").contains_any("ann", "reply")


def test_suppression_lists_of_the_same_people_have_nothing_in_common(tmp_path: Path) -> None:
    for name in ("a", "b"):
        SuppressionList(tmp_path / name).add_person("ann", "reply")
    tags = [[*SuppressionList(tmp_path / name)._people] for name in ("a", "b")]
    assert tags[0] != tags[1]


def test_suppression_list_rejects_other_files(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(IntegrityError):
        SuppressionList(tmp_path / "s.json")
