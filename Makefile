# The commands of README, and the steps they are made of. Needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests mostly wait: more of them than cores. Each process is sent few at a time (maxschedchunk), so
# that none has a queue left when the others have ended.
JOBS ?= 3
# Errors alone: pip warns of an extra that lxml has given up and trafilatura still names.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# Images of Python often set it: each process would compile the whole source again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test quick lint format types spelling units topologies bench chaos fuzz clean

up: $(VENV)/installed
	@exec $(BIN)/dateline up --demo

# Everything, in about ten minutes on two cores.
test: $(VENV)/tested lint types spelling units

# What needs no server, for while you write: about a minute on two cores.
quick: $(VENV)/tested lint types spelling
	@$(BIN)/python -m pytest -n 2 --pure

lint: $(VENV)/tested
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

format: $(VENV)/tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/tested
	@$(BIN)/mypy

spelling: $(VENV)/tested
	@$(BIN)/codespell

# COVERAGE=1 measures which lines they run, as CI does, and takes a good deal longer.
COVERAGE ?=
units: $(VENV)/tested
ifeq ($(COVERAGE),)
	@$(BIN)/python -m pytest -n $(JOBS) --maxschedchunk 2
else
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -n $(JOBS) --maxschedchunk 2
	@$(BIN)/coverage combine --quiet
	@echo "Coverage: $$($(BIN)/coverage report --format=total) % (details: $(BIN)/coverage report)"
	@$(BIN)/coverage report >/dev/null
endif

# The tests of storage on one server, on a primary behind Sentinels, and on a cluster, with one shard
# and with three. Half an hour on two cores.
topologies: $(VENV)/tested
	@for topology in one sentinel cluster; do for shards in 1 3; do \
	  echo "$$topology, shards: $$shards"; \
	  DATELINE_TEST_TOPOLOGY=$$topology DATELINE_TEST_SHARDS=$$shards \
	    $(BIN)/python -m pytest -n 2 tests/storage tests/cli/test_layout.py || exit 1; \
	done; done

# Random requests for FUZZ_S seconds (FUZZ_SEED repeats a run), and ODD_EXAMPLES odd documents.
fuzz: $(VENV)/tested
	@FUZZ_S=$${FUZZ_S:-300} $(BIN)/python -m pytest tests/web/test_fuzz.py
	@ODD_EXAMPLES=$${ODD_EXAMPLES:-400} $(BIN)/python -m pytest tests/test_odd_articles.py

# Everything goes wrong for CHAOS_S seconds; CHAOS_SEED repeats the faults of a run.
chaos: $(VENV)/tested
	@$(BIN)/python -m chaos --seconds $${CHAOS_S:-1200} $${CHAOS_SEED:+--seed $$CHAOS_SEED}

bench: $(VENV)/installed
	$(BIN)/python -m bench.render
	$(BIN)/python -m bench.serve

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "dateline needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": try make PYTHON=python3.12")'
	@echo "Installing into $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	@$(PIP) install --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage*
