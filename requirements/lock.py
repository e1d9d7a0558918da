"""Writes `constraints.txt` and `requirements/*.txt`: every version, every file's hash.

    .venv/bin/python requirements/lock.py [--check]

`constraints.txt` pins all packages of all extras with the hashes of all their files, for every
platform. uv writes it (`make lock` installs it) and keeps the versions that are there.
`requirements/NAME.txt` lists the direct dependencies of one step of `make setup`; pip wants these
pinned by `==` to accept hashes from constraints. `data-packages.txt` is written likewise, without
dependencies. With `--check` nothing is written and uv is not needed: the direct dependencies must
agree with `pyproject.toml` and `constraints.txt`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
DATA_PACKAGES = ROOT / "data-packages.txt"
STEPS: Mapping[str, Sequence[str]] = {
    "setup": ("", "web"),
    "dev": ("dev", "browser", "load", "ray", "quantize"),
    "audit": ("audit",),
}
"""Extras of each step after `build`; the empty extra is the package's own dependencies."""

HEAD = """\
# Every package that can be installed, with the hashes of its files (Python 3.11 and later).
# `requirements/lock.py` writes this file. To change a version: edit it here, run `make lock`, then
# `make setup lint test`.
"""


def read_pins(text: str) -> dict[str, str]:
    """Return versions by package name, from the text of a file of pins."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in pins}


def format_requirements(step: str, pins: Mapping[str, str]) -> str:
    """Return the file of one step: its direct dependencies, pinned, with their markers."""
    lines = [f"# Written by requirements/lock.py: the direct dependencies of the step {step!r}."]
    for line in sorted({*_iter_dependencies(step)}):
        requirement, _, marker = line.partition(";")
        match = re.match(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?", requirement.strip())
        assert match is not None, line
        name = match[1].lower().replace("_", "-")
        suffix = f" ;{marker}" if marker else ""
        lines.append(f"{name}{match[2] or ''}=={pins[name]}{suffix}")
    return "\n".join(lines) + "\n"


def _iter_dependencies(step: str) -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in STEPS[step]:
        yield from project["optional-dependencies"][extra] if extra else project["dependencies"]


def lock_constraints() -> None:
    """Write `constraints.txt` with the versions it has, and new ones for what it does not list."""
    with tempfile.TemporaryDirectory() as folder:
        # Only versions go in: uv then looks up the hashes of all files again.
        old, new = Path(folder, "old.txt"), Path(folder, "new.txt")
        pins = read_pins(CONSTRAINTS.read_text(encoding="utf-8"))
        old.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        _compile("pyproject.toml", "requirements/build.in", "--all-extras", "-c", old, "-o", new)
        text = new.read_text(encoding="utf-8")
        # The pip that comes with Python takes hashes from requirements only, not from constraints.
        build = ROOT / "requirements" / "build.txt"
        _compile("requirements/build.in", "-c", new, "-o", build)
    CONSTRAINTS.write_text(HEAD + text, encoding="utf-8")


def lock_data_packages() -> None:
    """Write the hashes into `data-packages.txt`."""
    text = DATA_PACKAGES.read_text(encoding="utf-8")
    head = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
    with tempfile.TemporaryDirectory() as folder:
        plain, new = Path(folder, "plain.txt"), Path(folder, "new.txt")
        pins = read_pins(text)
        plain.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        _compile(plain, "--no-deps", "-o", new)
        DATA_PACKAGES.write_text(head + new.read_text(encoding="utf-8"), encoding="utf-8")


def _compile(*arguments: object) -> None:
    options = ("--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")
    command = ["uv", "pip", "compile", "--python-version", "3.11", "--allow-unsafe", *options]
    subprocess.run([*command, *map(str, arguments)], cwd=ROOT, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Pin every dependency by hash.")
    parser.add_argument("--check", action="store_true", help="Only say if a file is out of date.")
    options = parser.parse_args(arguments)
    if not options.check:
        lock_constraints()
        lock_data_packages()
    pins = read_pins(CONSTRAINTS.read_text(encoding="utf-8"))
    for step in STEPS:
        file, text = ROOT / "requirements" / f"{step}.txt", format_requirements(step, pins)
        if not options.check:
            file.write_text(text, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != text:
            print(f"{file.relative_to(ROOT)} is out of date; run: make lock", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
