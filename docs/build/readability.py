"""Measures how readable the code is, and writes the table into ARCHITECTURE.md.

    python docs/build/readability.py [--check] [--tree FOLDER]

Counts come from the syntax trees of `src/idiolect`, without Django's migrations. The number of
calls comes from a real run: `tests/support/call_depth.py` runs the command on a tiny base. With
`--tree` the figures of another checkout are printed; nothing is run there and nothing is written.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN_MARK, END_MARK = "<!-- readability:begin -->", "<!-- readability:end -->"
WIDE_FOLDERS = ("cli/commands", "importers/formats", "web", "web/game")
"""Folders that may hold more than about a dozen modules: commands, formats and Django apps."""

IRREGULAR_PARTICIPLES = frozenset(
    (
        *("begun", "born", "bought", "brought", "built", "chosen", "done", "drawn", "fallen"),
        *("felt", "found", "given", "gone", "grown", "heard", "held", "hidden", "kept", "known"),
        *("laid", "learnt", "led", "left", "lost", "made", "meant", "met", "paid", "said", "seen"),
        *("sent", "shown", "sold", "spent", "stood", "taken", "thought", "told", "torn", "won"),
        *("worn", "written"),
    )
)
NOT_PARTICIPLES = frozenset(("embed", "feed", "need", "ping", "ring", "seed", "speed", "string"))
"""Words that only end like a participle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readability:
    """Figures of one tree."""

    functions: int
    """Functions and methods, also nested ones; dunder methods are not counted."""
    one_word: int
    participles: int
    exported: int
    """Functions of `idiolect.api.__all__` that take arguments."""
    exported_with_arguments: int
    """Those whose docstring has a section on arguments."""
    code_lines: int
    """Lines that are not blank."""
    comment_lines: int
    """Lines that hold a comment only."""
    widest_folder: int
    """Modules in the widest folder, without those of `WIDE_FOLDERS`."""
    calls: int | None
    """Calls from a command to the optimizer step; ``None`` if not measured."""


BEFORE = Readability(
    functions=2103,
    one_word=1472,
    participles=211,
    exported=21,
    exported_with_arguments=0,
    code_lines=34353,
    comment_lines=72,
    widest_folder=51,
    calls=11,
)
"""Measured with `--tree` on commit aa1afae, before the rooms were rebuilt; the calls by hand."""


def measure_tree(tree: Path, *, calls: int | None) -> Readability:
    """The figures of a checkout; ``calls`` is what ``count_calls`` found."""
    package = tree / "src" / "idiolect"
    files = [p for p in sorted(package.rglob("*.py")) if "migrations" not in p.parts]
    names = [name for path in files for name in iter_function_names(path)]
    words = [name.strip("_") for name in names if "_" not in name.strip("_")]
    exported = list(iter_exported_functions(package))
    lines = [count_lines(path) for path in files]
    folders = Counter(
        str(path.parent.relative_to(package)) for path in files if path.name != "__init__.py"
    )
    return Readability(
        functions=len(names),
        one_word=len(words),
        participles=sum(is_participle(word) for word in words),
        exported=len(exported),
        exported_with_arguments=sum(documents_arguments(f) for f in exported),
        code_lines=sum(code for code, _ in lines),
        comment_lines=sum(comments for _, comments in lines),
        widest_folder=max(n for name, n in folders.items() if name not in WIDE_FOLDERS),
        calls=calls,
    )


def iter_function_names(path: Path) -> Iterator[str]:
    """The names of a module's functions and methods.

    Dunder methods are left out, and properties without a body: these declare a field in a protocol.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_field(node):
            continue
        if not node.name.startswith("__"):
            yield node.name


def is_field(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is a property without a body."""
    is_property = any(ast.unparse(d) == "property" for d in function.decorator_list)
    return is_property and ast.unparse(function.body[-1]) == "..."


def is_participle(word: str) -> bool:
    """Whether a name of one word is a participle ("trained", "watching", "told")."""
    if word in NOT_PARTICIPLES:
        return False
    return word in IRREGULAR_PARTICIPLES or re.fullmatch(r"\w{2,}(ed|ing)", word) is not None


def iter_exported_functions(package: Path) -> Iterator[ast.FunctionDef]:
    """The functions with arguments that `idiolect.api` exports."""
    facade = ast.parse((package / "api" / "__init__.py").read_text(encoding="utf-8"))
    exported = {
        element.value
        for node in facade.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for element in ast.walk(node.value)
        if isinstance(element, ast.Constant)
    }
    for path in sorted((package / "api").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name not in exported:
                continue
            if node.args.args or node.args.kwonlyargs:
                yield node


def documents_arguments(function: ast.FunctionDef) -> bool:
    """Whether a function's docstring has a section on its arguments."""
    return re.search(r"^\s*Args:$", ast.get_docstring(function) or "", re.MULTILINE) is not None


def count_lines(path: Path) -> tuple[int, int]:
    """How many lines of a module are not blank, and how many hold a comment only."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {t.start[0] for t in tokens if t.type == tokenize.COMMENT}
    whole = sum(lines[number - 1].lstrip().startswith("#") for number in comments)
    return sum(bool(line.strip()) for line in lines), whole


def count_calls() -> int:
    """Calls from the command `personalize` to the optimizer step, counted in a real run."""
    sys.path[:0] = [str(ROOT / "tests")]
    from support.call_depth import record_calls_to_optimizer

    with tempfile.TemporaryDirectory() as folder:
        return len(record_calls_to_optimizer(Path(folder)))


def format_table(before: Readability, after: Readability) -> str:
    """The table in Markdown."""

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}%" if 0 < part < whole / 50 else f"{part / whole:.0%}"

    def row(title: str, *values: object) -> str:
        return f"| {title} | {' | '.join(map(str, values))} |"

    both = (before, after)
    return "\n".join(
        (
            row("", "before", "now"),
            row("---", "---", "---"),
            row("functions named by one word", *(percent(r.one_word, r.functions) for r in both)),
            row("functions named by a bare participle", *(r.participles for r in both)),
            row(
                "functions exported by `api` whose docstring lists the arguments",
                *(percent(r.exported_with_arguments, r.exported) for r in both),
            ),
            row("lines of comment", *(percent(r.comment_lines, r.code_lines) for r in both)),
            row("calls from command to `optimizer.step`", *(r.calls for r in both)),
            row("modules in the widest folder", *(r.widest_folder for r in both)),
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the table; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Measure how readable the code is.")
    parser.add_argument(
        "--check", action="store_true", help="Only say if the table is out of date."
    )
    parser.add_argument("--tree", type=Path, help="Print the figures of another checkout.")
    options = parser.parse_args(arguments)
    if options.tree:
        print(measure_tree(options.tree, calls=None))
        return 0
    table = format_table(BEFORE, measure_tree(ROOT, calls=count_calls()))
    old = PAGE.read_text(encoding="utf-8")
    head, rest = old.split(BEGIN_MARK)
    new = f"{head}{BEGIN_MARK}\n{table}\n{END_MARK}{rest.split(END_MARK)[1]}"
    if options.check and new != old:
        print("ARCHITECTURE.md: the table is out of date; run: make docs", file=sys.stderr)
        return 1
    if new != old:
        PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
