"""docs/trust.md names a fix and tests for each finding of the review."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from docs.build import trust


def test_marks_name_known_findings() -> None:
    assert set(trust.find_tests()) <= {each.id for each in trust.read_findings()}


def test_fixed_findings_have_tests() -> None:
    tests = trust.find_tests()
    assert [each.id for each in trust.read_findings() if each.fix and each.id not in tests] == []
    assert {each.severity for each in trust.read_findings()} <= set(trust.SEVERITIES)


def test_page_is_current() -> None:
    assert trust.main(["--check"]) == 0


def test_find_tests_reads_marks_of_tests_classes_and_modules(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    source = """
        pytestmark = [pytest.mark.slow, pytest.mark.finding("of-module")]
        class TestA:
            @pytest.mark.finding("of-test", "second")
            def test_one(self): ...
        def helper(): ...
    """
    lines = ["import pytest", *(line[8:] for line in source.splitlines())]
    (tmp_path / "tests" / "test_x.py").write_text("\n".join(lines))
    name = "tests/test_x.py::TestA::test_one"
    found = trust.find_tests(tmp_path / "tests")
    assert found == {"of-module": [name], "of-test": [name], "second": [name]}


def test_page_shows_findings_by_severity() -> None:
    rows = [
        trust.Finding(id="b", severity="low", finding="B.", fix=""),
        trust.Finding(id="a", severity="high", finding="A.", fix="Mended."),
    ]
    page = trust.format_page(rows, {"a": ["tests/t.py::test_a"]})
    assert page.index("| A. | Mended. | `tests/t.py::test_a` |") < page.index("| B. | not fixed")


def test_page_shows_tally_of_random_kills() -> None:
    kills = {
        "share": {"kills": 900, "runs": 301, "faults": []},
        "site": {"kills": 200, "runs": 1234, "faults": ["lost: x"]},
    }
    page = trust.format_page([], {}, kills)
    assert "## 1,100 random kills" in page
    assert "| share | 900 | 301 runs | 0 |" in page
    assert "| site | 200 | 1,234 rounds shown | 1 |" in page


@pytest.mark.parametrize("source", ["pytest.mark.finding(name)", "pytest.mark.finding(1 + x)"])
def test_marks_must_be_literal(source: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        list(trust._read_mark(ast.parse(source).body[0].value))  # pyright: ignore
