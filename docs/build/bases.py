"""Writes the table of families in docs/bases.md, between its two marks.

    python docs/build/bases.py [--measure | --check]

The table comes from ``docs/families.json``. ``--measure`` makes that file: it opens a small random
model of each configuration in ``tests/support/families.py``, as any base is opened, which takes
about a minute. ``--check`` only says if the page is out of date.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.errors import DataError, IdiolectError, UsageError
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.models.ways import WAY_COSTS
from idiolect.storage.files import read_json, write_atomic, write_json

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bases.md"
MEASURED = ROOT / "docs" / "families.json"
BEGIN_MARK = (
    "<!-- families: written by docs/build/bases.py from docs/families.json; do not edit -->"
)
END_MARK = "<!-- end of families -->"
LIBRARIES = ("transformers", "peft", "torch")


def describe_base(base: Base) -> dict[str, Any]:
    """Return what the table says about a base that was opened: the names of the modules that get
    adapters by default (none if they must be named), and for each way that is off what differed."""
    try:
        paths = [module.path for module in target_modules(base.model, LoraConfig())]
    except UsageError:
        paths = []
    names = {path.rpartition(".")[2] for path in paths}
    off = {way: base.ways.reasons.get(way, "") for way in WAY_COSTS if not getattr(base.ways, way)}
    flat = {path.rpartition(".")[2] for path in base.ways.flat_modules}
    return {"targets": sorted(names), "off": off, "flat": sorted(flat)}


def describe_refusal(error: IdiolectError, folder: Path) -> dict[str, Any]:
    """Return what the table says about a base that was refused: the message, without the folder."""
    return {"refused": re.sub(rf"{re.escape(str(folder))}(/config\.json)?: ", "", str(error))}


def measure_families() -> dict[str, Any]:
    """Open a small random model of each configuration on the CPU in float32."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.families import CONFIGURATIONS, save_family  # needs the path above

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        # Verdicts of earlier versions are in the user's cache.
        os.environ["XDG_CACHE_HOME"] = temporary
        for one in CONFIGURATIONS:
            folder = Path(temporary) / one.name
            save_family(one, folder)
            try:
                base = load_base(folder, dtype="float32", device="cpu")
                found[one.name] = describe_base(base)
            except IdiolectError as error:
                found[one.name] = describe_refusal(error, folder)
    return {"versions": get_versions(), "families": found}


def get_versions() -> dict[str, str]:
    """Return the versions of the libraries on which the verdicts depend."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES}


def format_section(measured: Mapping[str, Any]) -> str:
    """Return the text between the marks."""
    families: Mapping[str, Mapping[str, Any]] = measured["families"]
    usable = [name for name, one in families.items() if "refused" not in one]
    kinds = {name.partition(":")[0] for name in usable}
    plain = [name for name in usable if not families[name]["off"]]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    lines = [
        f"{len(usable)} configurations of {len(kinds)} families, with {versions}. On {len(plain)} "
        "of them every fast way is right. Small random models, opened on a CPU in float32; "
        "`tests/training/test_families.py` trains and answers with each.",
        "",
        "| family | default targets | ways that are off | one person at a time |",
        "| --- | --- | --- | --- |",
        *(_format_row(name, families[name]) for name in sorted(usable)),
        "",
        "Refused:",
        "",
        "| family | message |",
        "| --- | --- |",
        *(
            f"| {_format_name(name)} | {one['refused']} |"
            for name, one in sorted(families.items())
            if "refused" in one
        ),
    ]
    return "\n".join(lines)


def _format_row(name: str, one: Mapping[str, Any]) -> str:
    off = "; ".join(_iter_reasons(one["off"])) or "none"
    flat = ", ".join(f"`{each}`" for each in one["flat"])
    targets = ", ".join(f"`{each}`" for each in one["targets"]) or "to be named"
    return f"| {_format_name(name)} | {targets} | {off} | {flat} |"


def _format_name(name: str) -> str:
    family, _, special = name.partition(":")
    return f"{family} ({special})" if special else family


def _iter_reasons(off: Mapping[str, str]) -> Iterator[str]:
    """Yield the ways that are off, those with the same kind of reason together."""
    by_kind: dict[str, list[str]] = {}
    for way, reason in off.items():
        # Sizes and errors differ from version to version; the kind of reason is what matters.
        kind = re.sub(r" (by [\d.e+-]+ of their size|\(.*\))$", "", reason.rstrip())
        by_kind.setdefault(kind, []).append(way)
    for kind, ways in by_kind.items():
        yield ", ".join(ways) + (f" ({kind})" if kind else "")


def replace_section(page: str, section: str) -> str:
    """Return the page with another text between the marks; raises DataError if a mark is
    missing."""
    if page.count(BEGIN_MARK) != 1 or page.count(END_MARK) != 1:
        raise DataError(f"{PAGE}: must have each mark of the families once")
    head, rest = page.split(BEGIN_MARK)
    return f"{head}{BEGIN_MARK}\n{section}\n{END_MARK}{rest.split(END_MARK)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write or check; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Write the table of families in docs/bases.md.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--measure", action="store_true", help="Open all families first.")
    choice.add_argument("--check", action="store_true", help="Only say if the page is out of date.")
    options = parser.parse_args(arguments)
    if options.measure:
        write_json(MEASURED, measure_families())
    old = PAGE.read_text(encoding="utf-8")
    new = replace_section(old, format_section(read_json(MEASURED)))
    if options.check and new != old:
        print("docs/bases.md is out of date; run: make docs", file=sys.stderr)
        return 1
    if not options.check:
        write_atomic(PAGE, new.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
