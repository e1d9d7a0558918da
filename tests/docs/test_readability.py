"""The code stays as readable as ARCHITECTURE.md says; the limits are those of CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from docs.build import readability

PACKAGE = readability.ROOT / "src" / "idiolect"
MAX_MODULES = 13
MAX_LINES_WITHOUT_COMMENT = 25
"""Of a function, without its docstring."""


def test_measure_tree_of_this_checkout_is_within_limits() -> None:
    found = readability.measure_tree(readability.ROOT, calls=None)
    assert found.one_word <= 0.35 * found.functions
    assert found.participles == 0
    assert found.exported_with_arguments == found.exported > 15
    assert found.comment_lines >= 0.02 * found.code_lines


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    modules = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    folders = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in modules)
    wide = {name: count for name, count in folders.items() if count > MAX_MODULES}
    assert set(wide) <= set(readability.WIDE_FOLDERS), wide


def test_long_functions_hold_comments() -> None:
    bare: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            has_docstring = ast.get_docstring(node) is not None
            start = node.body[0].end_lineno if has_docstring else node.lineno
            assert start is not None and node.end_lineno is not None
            body = lines[start : node.end_lineno]
            if len(body) > MAX_LINES_WITHOUT_COMMENT and not any("#" in line for line in body):
                bare.append(f"{path.relative_to(PACKAGE)}: {node.name}")
    assert bare == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [("trained", True), ("watching", True), ("told", True), ("seed", False), ("train", False)],
)
def test_is_participle_knows_regular_and_irregular_verbs(word: str, expected: bool) -> None:
    assert readability.is_participle(word) is expected


def test_measure_tree_counts_functions_and_comments(tmp_path: Path) -> None:
    api = tmp_path / "src" / "idiolect" / "api"
    api.mkdir(parents=True)
    (api / "__init__.py").write_text('__all__ = ["train", "load_base"]\n')
    (api / "work.py").write_text(
        "# What people call.\n\ndef train(n): ...\n\ndef _made(): ...  # a name\n\n"
        'def load_base(path):\n    """Load.\n\n    Args:\n        path: A folder.\n    """\n'
    )
    found = readability.measure_tree(tmp_path, calls=3)
    assert (found.functions, found.one_word, found.participles) == (3, 2, 1)
    assert (found.exported, found.exported_with_arguments) == (2, 1)
    assert (found.code_lines, found.comment_lines) == (9, 1)
    assert (found.widest_folder, found.calls) == (1, 3)
    table = readability.format_table(found, found)
    assert "| functions named by one word | 67% | 67% |" in table
