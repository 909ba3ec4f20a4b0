# Thin on purpose: what the targets do is in local/ (bootstrap.py, __main__.py).
.DEFAULT_GOAL := help
.PHONY: help run up down setup web demo docs test check bench proof deploy clean

# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
# Tests of whole stacks wait more than they work, so there are more workers than processors of a
# small machine. A stack stays with one worker; tests/conftest.py says in which order they come.
WORKERS ?= -n 3 --dist loadgroup --no-loadscope-reorder
NEEDS_PYTHON = $(if $(PYTHON),,$(error Presence needs Python 3.11 or newer: install it, or name one with `make PYTHON=/path/to/python3`))
# The interpreter of the functions on AWS: PythonRuntime in template.yaml.
RUNTIME ?= python3.13

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup  ## the whole stack on this machine, with a demo; Ctrl-C stops it
	@$(BIN)/python -m local run $(ARGS)

up: setup  ## the same in the background
	@$(BIN)/python -m local up $(ARGS)

down:  ## stop what `make up` started
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m local down; else echo "No stack is running."; fi

setup:  ## the tools, in virtual environments inside this folder
	@$(NEEDS_PYTHON)$(PYTHON) local/bootstrap.py

web:  ## the tools of the client in web/, if there is a Node for them
	@$(NEEDS_PYTHON)$(PYTHON) local/bootstrap.py web

demo: web  ## web/demo, built into local/demo: commit both
	@cd web && npm run --silent demo

docs: setup  ## the generated parts of the pages
	@$(BIN)/python -m tests.docs.generated

test: setup web  ## all tests
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: setup web  ## style, types, architecture, template, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m 'not slow' tests/docs tests/template tests/web
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint

bench: setup web  ## what a day costs, what routes cost, how soon others hear, crowds, cold starts, posts a second
	@$(BIN)/python -m bench.capacity
	@$(BIN)/python -m bench.handlers
	@$(BIN)/python -m bench.latency
	@$(BIN)/python -m bench.verifying
	@$(BIN)/python -m bench.storm
	@$(BIN)/python -m bench.announcing
	@$(BIN)/python -m bench.sweeping
	@$(BIN)/python -m bench.crowd
	@$(BIN)/python -m bench.cold_start
	@$(BIN)/python -m bench.posting
	@$(BIN)/python -m bench.bill

proof: setup  ## simulation, state machine, model, nemesis, mutants: an hour; ARGS="NAME..." for some
	@$(BIN)/python -m proof $(ARGS)

deploy: setup  ## to AWS; STAGE=dev or prod (see samconfig.toml)
	.venv-sam/bin/sam build
	$(BIN)/python -m local.layer .aws-sam/build/PresenceLayer/python
	# Lambda cannot keep what Python compiles: without this, each cold start does it again.
	$(RUNTIME) -m compileall -q --invalidation-mode unchecked-hash .aws-sam/build/PresenceLayer/python
	.venv-sam/bin/sam deploy --config-env $(or $(STAGE),default)

clean:  ## everything that can be made again
	rm -rf .venv .venv-aws .venv-sam .aws-sam .presence/build .presence/tmp
	rm -rf web/node_modules web/react-18/node_modules web/dist
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
