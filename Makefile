# Everything sets up its own .venv from pyproject.toml; nothing needs to be installed by hand but Python >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= demo-data

.PHONY: demo test campaign check conformance bench lint types house rules clean help

help:
	@echo "make demo    a seeded year of orders, consents, corrections and disclosures; a proof; an erasure"
	@echo "make test    the tests"
	@echo "make campaign  a thousand rounds of each race and the long run of the model; minutes, not seconds"
	@echo "make check   ruff, mypy --strict, the tests and the house test: what CI runs"
	@echo "make conformance  tests by code that nobody here wrote: Go's sumdb, pymerkle, sigstore (installs them)"
	@echo "make rules   docs/rules.md, docs/problems.md and docs/permissions.md from the code"
	@echo "make bench   speed as ratios measured side by side in one run; writes bench.json (ARGS=--quick for a short one)"
	@echo "make clean   remove the environment and what was built"

$(BIN)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(BIN)/.ready
	@$(BIN)/prooftrail demo --keep $(DATA)

# Two halves at the same time, on as many cores: what waits for connections and programs, and the rest.
DOORS := tests/http/ tests/cli/
test: $(BIN)/.ready
	@$(MAKE) --no-print-directory -j2 test-doors test-ledger

test-doors: $(BIN)/.ready
	$(BIN)/python -m pytest $(DOORS)

test-ledger: $(BIN)/.ready
	$(BIN)/python -m pytest $(filter-out $(DOORS) tests/__pycache__/,$(wildcard tests/test_*.py tests/*/))

campaign: $(BIN)/.ready
	$(BIN)/python -m pytest --campaign -m campaign -rP

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.ready
	$(BIN)/mypy

house: $(BIN)/.ready
	$(BIN)/python -m pytest tests/test_house.py

rules: $(BIN)/.ready
	$(BIN)/python -m tests.rules.document
	$(BIN)/python -m tests.http.document
	$(BIN)/python -m tests.http.permissions_document

check: lint types test house

# About a minute and a half, most of it the first compilation of Go's standard library.
conformance: $(BIN)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,conformance]'
	$(BIN)/python -c 'import go, pymerkle, sigstore'
	$(BIN)/python -m pytest tests/conformance

bench: $(BIN)/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || echo "without the row of UmaDB"
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis bench.json dist build demo-data
