# make run · make test · make lint · make bench; each sets up .venv when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint bench lock

run: $(VENV)/.installed
	$(BIN)/python run_pipeline.py

test: lint $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-for-tests
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.table_against_forest
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.compression --search
	$(BIN)/python -m benchmarks.fuzz all --seconds 10

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Penjing needs Python 3.11 to 3.13, got " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed requirements-ray.txt requirements-test.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-ray.txt -r requirements-test.txt
	touch $@

# Anew after a change of a requirements*.in: what pip finds together, pinned; each file holds what those before it lack.
PIP_LOCK := .venv-lock/bin/python -m pip
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	$(PIP_LOCK) install --quiet -r requirements.in
	$(PIP_LOCK) freeze > .venv-lock/main
	$(PIP_LOCK) install --quiet -c .venv-lock/main -r requirements-ray.in
	$(PIP_LOCK) freeze > .venv-lock/ray
	$(PIP_LOCK) install --quiet -c .venv-lock/ray -r requirements-test.in
	$(PIP_LOCK) freeze > .venv-lock/test
	{ echo "# Exact pins of requirements.in and all it needs. Made by: make lock"; cat .venv-lock/main; } > requirements.txt
	{ echo "# Exact pins of what requirements-ray.in needs beside requirements.txt. Made by: make lock"; grep -vxFf .venv-lock/main .venv-lock/ray; } > requirements-ray.txt
	{ echo "# Exact pins of what requirements-test.in needs beside those two. Made by: make lock"; grep -vxFf .venv-lock/ray .venv-lock/test; } > requirements-test.txt
	rm -rf .venv-lock
