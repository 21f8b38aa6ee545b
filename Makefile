# Two commands matter to a newcomer: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgewise-requirements
CACHE := $(or $(EDGEWISE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/edgewise)
UV := $(CACHE)/uv/bin/uv
EXTRAS := operator agent serving simulate dev

export PYTHONPATH := operator:.

.PHONY: help setup demo demo-down test test-unit test-api test-e2e lint crds lock bench

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP) ## the virtual environment, with every dependency checked by its hash

# Only a changed lock file installs anything. The .pth file lets `edgewise` and `lab` be imported from anywhere.
$(STAMP): requirements/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"edgewise needs Python 3.11 or later, found {v.major}.{v.minor}")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
	  else echo "Python's venv module is missing: install the package python3-venv" >&2; exit 1; fi; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements/dev.txt into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@printf '%s\n' "$(CURDIR)/operator" "$(CURDIR)" \
	  > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/edgewise-checkout.pth"
	@touch $@

demo: setup ## the main job on a real cluster, step by step (root; Debian or Ubuntu)
	@$(BIN)/python -m lab.demo

demo-down: setup ## end and remove what the demo left running; the cache stays
	@$(BIN)/python -m lab down

test: setup lint ## everything: lint, unit tests, tests on real clusters (root; Debian or Ubuntu)
	@$(BIN)/python -m pytest

test-unit: setup ## the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit

test-api: setup ## the tests on a real API server
	@$(BIN)/python -m pytest tests/api

test-e2e: setup ## the tests on real nodes
	@$(BIN)/python -m pytest tests/e2e

lint: setup ## ruff, mypy and the layers of the architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p edgewise -p lab
	@$(BIN)/lint-imports

crds: setup ## write crds/ from the pydantic kinds; copy CRDs and policies into the chart
	@$(BIN)/python -m edgewise.api.crd crds
	@cp crds/*.yaml charts/edgewise/crds/
	@cp policies/*.yaml charts/edgewise/policies/

lock: $(UV) ## resolve requirements/*.txt anew from pyproject.toml
	@for extra in $(EXTRAS); do \
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --extra $$extra -o requirements/$$extra.txt pyproject.toml --custom-compile-command "make lock" || exit 1; done

$(UV):
	@$(PYTHON) -m venv $(CACHE)/uv
	@$(CACHE)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

bench: setup ## the figures of speed and size
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file; done
