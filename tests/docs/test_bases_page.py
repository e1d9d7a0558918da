"""docs/bases.md lists the families that docs/families.json holds."""

from __future__ import annotations

import pytest

from docs.build import bases
from idiolect.errors import DataError
from support.families import CONFIGURATIONS

MEASURED = {
    "versions": {"torch": "2.0"},
    "families": {
        "one": {"targets": ["q"], "off": {}, "flat": []},
        "two:odd": {
            "targets": ["c_attn"],
            "off": {
                "packed": "its numbers differ by 1.5 of their size",
                "tree": "its numbers differ by 0.2 of their size",
                "prefix": "it fails (TypeError: no)",
            },
            "flat": ["fc1"],
        },
        "three": {"refused": "looks ahead"},
    },
}


def test_page_is_current() -> None:
    assert bases.main(["--check"]) == 0


def test_all_configurations_are_measured() -> None:
    measured = bases.read_json(bases.MEASURED)
    assert measured["families"].keys() == {one.name for one in CONFIGURATIONS}


def test_section_shows_ways_that_are_off_and_refusals() -> None:
    section = bases.format_section(MEASURED)
    assert "2 configurations of 2 families, with torch 2.0. On 1 of them" in section
    assert "| one | `q` | none |  |" in section
    reasons = "packed, tree (its numbers differ); prefix (it fails)"
    assert f"| two (odd) | `c_attn` | {reasons} | `fc1` |" in section
    assert "| three | looks ahead |" in section


def test_section_replaces_what_is_between_the_marks() -> None:
    page = f"a\n{bases.BEGIN_MARK}\nold\n{bases.END_MARK}\nz\n"
    assert bases.replace_section(page, "new") == page.replace("old", "new")
    with pytest.raises(DataError, match="must have each mark"):
        bases.replace_section("a\nz\n", "new")
