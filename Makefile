# `make crosscheck` and `make test` are all a newcomer needs; each builds .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= $(CROSSCHECK_DATA)
CASE ?= *
JOBS ?= 2
# The published study: the four precisions, outputs held to 4 bits too, the whole decoder in integers, and
# the other calibrators at 4 and 8 bits.
VARIANTS := --variant w4a4 --variant w8a8 --variant w12a12 --variant w16a16 --variant w4a4-o4 \
  --variant 'w8a8 decoder' --variant 'w12a12 decoder' --variant 'w16a16 decoder' \
  --variant 'w4a4 min-max' --variant 'w4a4 tf-enhanced' --variant 'w4a4 mse' \
  --variant 'w8a8 min-max' --variant 'w8a8 tf-enhanced' --variant 'w8a8 mse'

# The study of video: the fixed-point warp by itself, the whole decoder in integers, other calibrators, one scale a tensor.
SSF_VARIANTS := --variant 'fp32 warp' --variant 'w8a8 decoder' --variant 'w16a16 decoder' \
  --variant 'w4a4 min-max' --variant 'w4a4 percentile' --variant 'w4a4 tf-enhanced' --variant 'w4a4 mse' --variant 'w8a8 mse' \
  --variant 'w4a4 min-max:tensor' --variant 'w4a4 mse:tensor' --variant 'w8a8 mse:tensor'
# How much of the widest precisions' prices is the chance of a closed loop: every clip in six mirrorings.
SSF_MIRRORED := --mirrorings 6 --precision w12a12 --precision w16a16 --variant 'w16a16 decoder'

.DEFAULT_GOAL := help
.PHONY: accept help crosscheck test lint bench fixtures calibrations platforms-extra bench-video report publish study clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

crosscheck: $(STAMP) ## encode here, decode there, compare every bit; reports in reports/default and reports/video
	$(BIN)/crosscheck run default --case '$(CASE)' --jobs $(JOBS)
	$(BIN)/crosscheck run video --jobs $(JOBS)
	$(BIN)/crosscheck run selftest

test: $(STAMP) ## the test suite, on all cores
	$(BIN)/python -m pytest -q -n auto

lint: $(STAMP) ## formatting, rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) ## speed of the integer decoder, the simulated DSP and the harness itself
	$(BIN)/python -m tests.bench

bench-video: $(STAMP) ## speed and memory of video at full size: make bench-video CLIP=file
	@test -n "$(CLIP)" || { echo "make bench-video CLIP=file: any clip, such as one of 1920x1080"; exit 2; }
	$(BIN)/python -m tests.bench_video $(CLIP) | tee reports/bench-video.txt

fixtures: $(STAMP) ## train every shipped codec again: make fixtures DATA=folder (with train/ and eval/kodak/ in it)
	@test -n "$(DATA)" || { echo "make fixtures DATA=folder: a folder with train/ and eval/kodak/ in it"; exit 2; }
	for recipe in fixtures/recipes/*.toml; do \
	  $(BIN)/crosscheck train $$recipe --data $(DATA)/train --evaluate $(DATA)/eval/kodak || exit $$?; done

calibrations: $(STAMP) ## calibrate every shipped codec again: make calibrations DATA=folder (with train/ in it)
	@test -n "$(DATA)" || { echo "make calibrations DATA=folder: a folder with train/ in it"; exit 2; }
	for recipe in fixtures/recipes/*.toml; do \
	  $(BIN)/crosscheck train $$recipe --data $(DATA)/train --only-calibrate || exit $$?; done

platforms-extra: $(STAMP) ## bring every further runtime into a private folder (CROSSCHECK_PLATFORMS, or the user's cache)
	$(BIN)/crosscheck platforms --prepare all

accept: $(STAMP) ## rewrite goldens: make accept CASE='mbt2018-mean/*' (or TRACE=y.trace of another machine)
	$(BIN)/crosscheck golden accept --case '$(CASE)' $(if $(TRACE),--trace $(TRACE))

report: $(STAMP) ## make the reports again from reports/default/results.json
	$(BIN)/crosscheck report reports/default

publish: $(STAMP) ## renew reports/published and the README's figures: make publish DATA=folder (with train/ and eval/kodak/ in it)
	@test -n "$(DATA)" || { echo "make publish DATA=folder: a folder with train/ and eval/kodak/ in it"; exit 2; }
	$(BIN)/crosscheck run default
	$(BIN)/python -m tests.bench | tee reports/bench.txt
	$(BIN)/crosscheck rd --images $(DATA)/eval/kodak --out reports/published --calibrate $(DATA)/train $(VARIANTS)
	$(BIN)/crosscheck rd --images $(DATA)/eval/kodak --out reports/published/narrowest --calibrate $(DATA)/train \
	  --precision fp32 --narrowest 1.0 --calibrator rate
	$(BIN)/crosscheck margin bmshj2018-hyperprior/q3 mbt2018-mean/q3 --images $(DATA)/eval --out reports/published
	$(BIN)/python reports/publish.py

study: $(STAMP) ## renew reports/published/ssf: make study CLIPS=folder CALIBRATE=folder (both of clips)
	@test -n "$(CLIPS)" -a -n "$(CALIBRATE)" || { echo "make study CLIPS=folder CALIBRATE=folder: clips to code, other clips to calibrate on"; exit 2; }
	$(BIN)/crosscheck study ssf --clips $(CLIPS) --frames 96 --calibrate $(CALIBRATE) --out reports/published/ssf \
	  --decoder torch --decoder torch-nomkldnn $(SSF_VARIANTS)
	$(BIN)/crosscheck study ssf --clips $(CLIPS) --frames 96 --out reports/published/ssf/mirrored $(SSF_MIRRORED)
	$(BIN)/python reports/publish.py ssf

clean: ## remove what these targets made
	rm -rf $(VENV) build dist reports/default reports/video reports/selftest .mypy_cache .ruff_cache .pytest_cache
