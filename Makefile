# make run · make test · make lint · make bench; each sets up .venv when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint bench lock

run: $(VENV)/.installed
	$(BIN)/python run_pipeline.py

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.table_against_forest
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.compression --search

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Penjing needs Python 3.11 to 3.13, got " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $@

# Anew from requirements.in, after a change there: what pip finds together, pinned.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -r requirements.in
	{ echo "# Exact pins of requirements.in and all it needs. Made by: make lock"; .venv-lock/bin/python -m pip freeze; } > requirements.txt
	rm -rf .venv-lock
