# `make crosscheck` and `make test` are all a newcomer needs; each builds .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= $(CROSSCHECK_DATA)
CASE ?= *
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help crosscheck test lint bench fixtures report publish clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

crosscheck: $(STAMP) ## encode here, decode there, compare every bit; report in reports/default
	$(BIN)/crosscheck run default --case '$(CASE)' --jobs $(JOBS)
	$(BIN)/crosscheck run selftest

test: $(STAMP) ## the test suite, on all cores
	$(BIN)/python -m pytest -q -n auto

lint: $(STAMP) ## formatting, rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) ## speed of the integer decoder, the simulated DSP and the harness itself
	$(BIN)/python -m tests.bench

fixtures: $(STAMP) ## train every shipped codec again: make fixtures DATA=folder (with train/ and eval/kodak/ in it)
	@test -n "$(DATA)" || { echo "make fixtures DATA=folder: a folder with train/ and eval/kodak/ in it"; exit 2; }
	for recipe in fixtures/recipes/*.toml; do \
	  $(BIN)/crosscheck train $$recipe --data $(DATA)/train --evaluate $(DATA)/eval/kodak || exit $$?; done

report: $(STAMP) ## make the reports again from reports/default/results.json
	$(BIN)/crosscheck report reports/default

publish: $(STAMP) ## renew reports/published and the README's figures: make publish DATA=folder (with eval/kodak/ in it)
	@test -n "$(DATA)" || { echo "make publish DATA=folder: a folder with eval/kodak/ in it"; exit 2; }
	$(BIN)/crosscheck run default
	$(BIN)/python -m tests.bench | tee reports/bench.txt
	$(BIN)/crosscheck rd --images $(DATA)/eval/kodak --precision fp32 --precision w8a8 --out reports/published
	$(BIN)/python reports/publish.py

clean: ## remove what these targets made
	rm -rf $(VENV) build dist reports/default reports/selftest .mypy_cache .ruff_cache .pytest_cache
