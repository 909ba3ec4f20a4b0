# Thin on purpose: what the targets do is in local/ (bootstrap.py, __main__.py).
.DEFAULT_GOAL := help
.PHONY: help run up down setup test check bench deploy clean

# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
# The interpreter of the functions on AWS: PythonRuntime in template.yaml.
RUNTIME ?= python3.13

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup  ## the whole stack on this machine, with a demo; Ctrl-C stops it
	@$(BIN)/python -m local run $(ARGS)

up: setup  ## the same in the background
	@$(BIN)/python -m local up $(ARGS)

down:  ## stop what `make up` started
	@$(BIN)/python -m local down

setup:  ## the tools, in virtual environments inside this folder
	@$(if $(PYTHON),,$(error Presence needs Python 3.11 or newer: install it, or name one with `make PYTHON=/path/to/python3`))
	@$(PYTHON) local/bootstrap.py

test: setup  ## all tests
	@$(BIN)/python -m pytest $(ARGS)

check: setup  ## style, types, architecture, template, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs tests/template
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint

bench: setup  ## what routes cost, how soon others hear, cold starts
	@$(BIN)/python -m bench.capacity
	@$(BIN)/python -m bench.latency
	@$(BIN)/python -m bench.cold_start

deploy: setup  ## to AWS; STAGE=dev or prod (see samconfig.toml)
	.venv-sam/bin/sam build
	# Lambda cannot keep what Python compiles: without this, each cold start does it again.
	$(RUNTIME) -m compileall -q --invalidation-mode unchecked-hash .aws-sam/build/PresenceLayer/python
	.venv-sam/bin/sam deploy --config-env $(or $(STAGE),default)

clean:  ## everything that can be made again
	rm -rf .venv .venv-aws .venv-sam .aws-sam .presence/build .presence/tmp
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
