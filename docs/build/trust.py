"""Writes docs/trust.md: each finding of the security review, how bad it was, its fix, its tests.

    python docs/build/trust.py [--check]

Findings and fixes come from `docs/trust.toml`. Tests name their finding with
`@pytest.mark.finding(ID)`; they are found in the syntax trees of `tests/`, so nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.storage.files import read_json

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = ROOT / "docs" / "trust.toml"
PAGE = ROOT / "docs" / "trust.md"
KILLS = ROOT / "docs" / "kills.json"
SEVERITIES = ("high", "medium", "low", "held")
"""In the order of the page; "held" is what the review could not break."""

HEAD = """\
# What a review found, and what keeps it mended

A security review of the first version found the faults below. Each was reproduced, mended as a
whole kind, and has tests that failed before. [SECURITY.md](../SECURITY.md) says what is protected,
and what is not. `docs/build/trust.py` writes this page from `docs/trust.toml` and from
the tests that are marked with a finding.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of the review."""

    id: str
    severity: str
    finding: str
    fix: str


def read_findings(path: Path = FINDINGS) -> list[Finding]:
    """Return all findings in the order of the file."""
    with path.open("rb") as file:
        return [Finding(id=name, **entry) for name, entry in tomllib.load(file).items()]


def find_tests(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Return test names, as `path::test`, by the finding they are marked with.

    A mark may be on a test, on a class, or on a module (`pytestmark`).
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(folder.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for test, finding in _iter_marked(tree.body, list(_iter_module_marks(tree))):
            tests = found.setdefault(finding, [])
            if f"{name}::{test}" not in tests:
                tests.append(f"{name}::{test}")
    return found


def _iter_module_marks(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            for call in ast.walk(node.value):
                yield from _read_mark(call)


def _iter_marked(
    body: Sequence[ast.stmt], marks: Sequence[str], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        own = [*marks, *(mark for each in node.decorator_list for mark in _read_mark(each))]
        if isinstance(node, ast.ClassDef):
            yield from _iter_marked(node.body, own, f"{prefix}{node.name}::")
        elif node.name.startswith("test"):
            yield from ((prefix + node.name, mark) for mark in own)


def _read_mark(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.finding":
        yield from (str(ast.literal_eval(each)) for each in node.args)


def format_page(
    findings: Sequence[Finding],
    tests: Mapping[str, Sequence[str]],
    kills: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the whole page; ``kills`` is the tally of random kills by command."""
    lines = [HEAD]
    for severity in SEVERITIES:
        rows = [each for each in findings if each.severity == severity]
        if not rows:
            continue
        title = "What held" if severity == "held" else f"Severity: {severity}"
        lines += [f"## {title}", "", "| finding | fix | tests |", "| --- | --- | --- |"]
        for each in rows:
            named = "<br>".join(f"`{test}`" for test in tests.get(each.id, ())) or "none"
            lines.append(f"| {each.finding} | {each.fix or 'not fixed yet'} | {named} |")
        lines.append("")
    return "\n".join([*lines, *_format_kills(kills or {})])


def _format_kills(kills: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of random kills, if there is one."""
    if not kills:
        return
    total = sum(one["kills"] for one in kills.values())
    yield from (
        f"## {total:,} random kills",
        "",
        "`tests/test_random_kills.py` (marked `slow`) kills a command with SIGKILL at a random",
        "moment, up to three times, and then lets it finish. After each kill, everything that is",
        "there is read to its last byte; at the end, the result is compared with that of an",
        "undisturbed run. The site is killed while three guests play; no round whose result was",
        "shown may be missing or changed, and all totals must equal the rounds. A fault is any",
        "departure from this.",
        "",
        "| killed | kills | then finished | faults |",
        "| --- | --- | --- | --- |",
    )
    for name, one in sorted(kills.items()):
        finished = f"{one['runs']:,} {'rounds shown' if name == 'site' else 'runs'}"
        yield f"| {name} | {one['kills']:,} | {finished} | {len(one['faults'])} |"
    yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Write docs/trust.md.")
    parser.add_argument("--check", action="store_true", help="Only say if the page is out of date.")
    options = parser.parse_args(arguments)
    kills = read_json(KILLS) if KILLS.is_file() else {}
    page = format_page(read_findings(), find_tests(), kills)
    if options.check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
            print("docs/trust.md is out of date; run: make docs", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
