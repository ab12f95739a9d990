# The two commands of README, and the steps they are made of. Needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: up test lint format types spelling units bench clean

up: $(VENV)/installed
	@exec $(BIN)/dateline up --demo

test: $(VENV)/tested lint types spelling units

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/tested
	$(BIN)/mypy

spelling: $(VENV)/tested
	$(BIN)/codespell

units: $(VENV)/tested
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

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
