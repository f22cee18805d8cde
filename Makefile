# Everything a developer types. `make` alone lists it.
SHELL := /bin/sh
SERVERS ?= embedded
PG ?= 18
KEEP ?=
JOBS ?= 2
MINUTES ?= 15
SECONDS ?= 60
WITHOUT_COMPILER ?=
ARGS ?=
# The first of these that is Python 3.11 to 3.13.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test faults fuzz soak bench check format lock contracts rules readme errors metrics clean

help: ## list these
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/compiled ## make .venv with the project and its development tools

$(VENV)/installed: requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name it: make PYTHON=/path/to/python3.13"; exit 1; }
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@WITHOUT_COMPILER=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable .
	@touch $@

# Where there is no C compiler, or WITHOUT_COMPILER=1 is set, the worker is plain Python.
$(VENV)/compiled: $(VENV)/installed hatch_build.py app/_compiled.pyx
	@WITHOUT_COMPILER=$(WITHOUT_COMPILER) $(BIN)/python hatch_build.py
	@touch $@

demo: setup ## real Kafka, Postgres and worker: 60 requests and their answers (KEEP=1 leaves them up)
	@SERVERS=$(SERVERS) PG=$(PG) $(BIN)/python -m devstack.demo $(if $(KEEP),--keep)

test: setup ## the whole suite (SERVERS=embedded|docker|env, PG=15|16|17|18, JOBS=2, ARGS='-k name')
	@SERVERS=$(SERVERS) PG=$(PG) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

faults: setup ## break real servers and workers under load, and judge what is left (CASE=name, SEED=n or 1,2,3)
	@SERVERS=$(SERVERS) PG=$(PG) $(BIN)/python -m tests.faults.matrix $(CASE) $(if $(SEED),--seed $(SEED))

soak: setup ## full load and random faults for minutes; nothing lost, memory steady (MINUTES=15, SEED=n)
	@SERVERS=$(SERVERS) PG=$(PG) $(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup ## throw inputs at what reads records, and look for one that breaks it (SECONDS=60; Linux on x86-64)
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

bench: setup ## the worker next to others, in a quarter of an hour (QUICK=1 three minutes, FULL=1 millions, PEERS=1 Debezium)
	@SERVERS=$(SERVERS) PG=$(PG) $(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(FULL),--full) $(if $(PEERS),--peers) $(ARGS)

check: setup ## lint, format, types, imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml

format: setup ## put the code in the format that `check` wants
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format

lock: setup ## choose the newest versions that pyproject.toml allows, with their hashes
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --extra dev pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --extra otel pyproject.toml -c requirements-dev.lock -o requirements.lock

contracts: setup ## write contracts/ anew from the models
	@$(BIN)/patient-upsert contracts

rules: setup ## write docs/rules.md anew from the rules and their tests
	@$(BIN)/python -m tests.rules

readme: setup ## write the parts of README.md that come from the code
	@$(BIN)/python -m tests.readme

errors: setup ## write docs/errors.md anew from the codes
	@$(BIN)/python -m tests.errors

metrics: setup ## write docs/metrics.md anew from the list of metrics
	@$(BIN)/python -m tests.metrics

clean: ## remove what `setup` and the tools made
	@rm -rf app/_compiled.*.so .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
