#!/usr/bin/env bash
# opacus 1.6.0: its wheel installs two packages that are not its own: `examples` and `benchmarks`.
#
# They lie at the top level, with an __init__.py. A project whose folder `examples/` has no __init__.py
# then imports Opacus's files instead of its own, even if its own folder is first on sys.path: Python
# takes a regular package anywhere on the path before a namespace package. Type checkers do the same.
# Seen here: `import examples` in a folder with `examples/mine.py` finds Opacus's package, and
# `import examples.mine` fails. Our folder has an __init__.py for that reason.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps opacus==1.6.0
mkdir -p "$folder/project/examples"
echo 'x = 1' > "$folder/project/examples/mine.py"
cd "$folder/project"
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata
import sys

assert sys.path[0] == "", "the project's folder comes first"
tops = {str(file).split("/")[0] for file in importlib.metadata.files("opacus") or ()}
print("top-level names of the wheel:", sorted(tops))
assert {"examples", "benchmarks"} <= tops, "the behavior changed: the wheel holds opacus only"
try:
    import examples.mine
except ModuleNotFoundError as error:
    print("the project's own module is not found:", error)
else:
    raise AssertionError("the behavior changed: the project's own folder is imported")
import examples

assert "site-packages" in str(examples.__file__)
PY
