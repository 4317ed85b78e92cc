# make demo       the main job on real handwritten digits: installs, runs, prints the answer and the path of the report
# make docs       builds the documentation's site, strictly, into build/site
# make test       installs with the tools, checks style and types, runs the tests that need nothing but Python
# make test-slow  those that start Ray, PostgreSQL or a browser, kill things (chaos), feed them hostile input (fuzz),
#                 run whole pages of the docs and every benchmark (examples), or take long for another reason (slow)
# make test-all   both; of the tests for a GPU neither
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs
# one more than cores: many tests wait for other processes
PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n + 1 : 4)))
BIN := $(VENV)/bin
comma := ,
PIP := $(BIN)/python -m pip --disable-pip-version-check
# uv takes a sixth of pip's time, but reads no setting of pip's: where one of these three is made, or uv fails, pip installs
define fetch
@echo "installing into $(VENV) (a minute or a few the first time)"
@if $(PIP) config list | grep -E "[.](index-url|no-index|proxy)=" >/dev/null || \
  ! $(PIP) install --quiet -c constraints.txt uv || \
  ! $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e "$(1)"; then \
  echo "with pip instead of uv"; $(PIP) install --quiet --no-compile -c constraints.txt -e "$(1)"; fi
endef
# most modules are never used, so for the demo only those are compiled that every run imports
COMPILE := PYTHONDONTWRITEBYTECODE= $(BIN)/python -c \
  "import ray.tune, results.report.page, sweep.cli, sweep.execution.worker_loop, torch._dynamo, trials.run"
STORE := sqlite:///$(OUT)/poisonsweep.db
SLOW := ray or chaos or fuzz or postgres or browser or examples or slow
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 25 --durations-min 8

.PHONY: demo install test pytest test-slow test-all lint format bench docs clean
.DELETE_ON_ERROR:

# byte code is kept, whatever the caller's environment says, as many processes are started
demo test pytest test-slow test-all bench: export PYTHONDONTWRITEBYTECODE =
# tests run side by side: what each starts, and scikit-learn in it, would else take every core
pytest test-slow: export OMP_NUM_THREADS ?= 1
demo: $(VENV)/.installed
	$(BIN)/poisonsweep run examples/digits.toml --local --store $(STORE)
	$(BIN)/poisonsweep best --sweep digits --store $(STORE)
	@printf 'report: '
	@$(BIN)/poisonsweep report --sweep digits --store $(STORE) --out $(OUT)/digits.html

install: $(VENV)/.installed-test

test: install
	@$(MAKE) --no-print-directory -j 2 lint pytest

pytest: install
	$(PYTEST) -m "not (gpu or $(SLOW))"

# what kills and mistreats things is bounded in time
test-slow: install
	$(PYTEST) -m "not gpu and ($(SLOW))" --rounds 10 --most 1800

test-all: test
	@$(MAKE) --no-print-directory test-slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	set -e; for file in benchmarks/[a-z]*.py; do \
	  echo "== $$file"; $(BIN)/python -m benchmarks.$$(basename $$file .py); done

# a broken link or a page that is in no menu fails
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site: build/site/index.html"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 1))' 2>/dev/null || { \
	  echo "poisonsweep needs Python 3.11.1 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "no virtual environment could be made: on Debian, apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(call fetch,.)
	@$(COMPILE)
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(call fetch,.[test$(comma)postgres])
	@touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(call fetch,.[docs])
	@touch $@
