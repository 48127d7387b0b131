# Everything sets itself up: `make demo` and `make test` work in a fresh checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test harsh verify lint types mypy basedpyright contracts examples simulate soak kill-soak stop-trials kill-trials partitions calm rolling-restart growing jepsen deaths power-cuts fuzz hostile fix wheel-test bench bench-actors flat endurance clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## the virtual environment in .venv, with everything in it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "trio-troupe needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	       "name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --editable . --group dev
	@touch $@

demo: setup ## three replicas; the leader is killed; one order (FILE=some.txt for your own lines)
	@$(BIN)/troupe demo $(FILE)

# Files come as they are collected. By default those of few tests come last, and these are the longest ones: one processor
# would wait for the other to end them.
test: setup ## the tests: on all processors, but for those marked `alone`, which come last (ARGS=...: some, in one run)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m 'not alone'
	@$(BIN)/python -m pytest -m alone
endif

# What says `assert` proves nothing under -O; pytest rewrites those of test modules, so that these do all the same.
harsh: setup ## the unit tests under -O, -X dev, warnings as errors, a random hash seed
	@PYTHONHASHSEED=random $(BIN)/python -O -X dev -W error -m pytest -q \
	  -W "ignore:assertions not in test modules:pytest.PytestConfigWarning" \
	  tests/actors tests/membership tests/broadcast tests/paper tests/transcripts tests/properties tests/fuzz

verify: ## what CI does: tests, lint, types, contracts, examples, demo, wheel
	@.ci/run

lint: setup ## ruff, check and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: mypy basedpyright ## both strict

mypy: setup
	@$(BIN)/mypy --strict

basedpyright: setup
	@$(BIN)/basedpyright

contracts: setup ## who may import whom
	@$(BIN)/lint-imports

examples: setup ## run each example
	@$(BIN)/python -m pytest -q tests/examples

SIMULATE := $(BIN)/python -m broadcast._simulation --jobs $(shell getconf _NPROCESSORS_ONLN) --strict --quiet

simulate: setup ## the simulator: 100 histories of CI's seeds and 50 of fresh ones, on all processors
	@$(SIMULATE) --seed 0 --count 100 --fresh 50

soak: SEEDS ?= 4000
soak: setup ## the simulator: SEEDS=4000 histories of fresh seeds, on all processors
	@$(SIMULATE) --fresh $(SEEDS)

# A soak leaves nothing behind of the runs that went well: each takes some tens of megabytes.
SOAK := $(BIN)/python -m pytest -x -o tmp_path_retention_policy=failed -o console_output_style=count

kill-soak: RUNS ?= 200
kill-soak: setup ## kill -9 under load, RUNS=200 times; each has 2 minutes
	@RUNS=$(RUNS) $(SOAK) -v tests/processes/test_clients_kill.py >&2

stop-trials: TRIALS ?= 20
stop-trials: setup ## stop the leader, TRIALS=20 times; each has 2 minutes
	@TRIALS=$(TRIALS) $(SOAK) -q -s tests/processes/test_stopped_leader.py >&2

kill-trials: TRIALS ?= 50
kill-trials: setup ## kill -9 of the leader, TRIALS=50 times, and its links cut in 2 of 5 as many; each has 2 minutes
	@TRIALS=$(TRIALS) $(SOAK) -q -s tests/processes/test_failover.py >&2

partitions: SECONDS ?= 60
partitions: setup ## partial partitions under load, each held for SECONDS=60
	@SECONDS=$(SECONDS) $(SOAK) -q -s tests/processes/test_partial_partitions.py >&2

calm: MINUTES ?= 5
calm: setup ## idle, loaded and with all processors busy, for MINUTES=5 each: nobody elects (leave the machine alone)
	@MINUTES=$(MINUTES) $(SOAK) -q -s tests/processes/test_calm.py >&2

rolling-restart: ROUNDS ?= 10
rolling-restart: setup ## stop and start each replica under load, ROUNDS=10 times all of them
	@ROUNDS=$(ROUNDS) $(SOAK) -q -s tests/processes/test_rolling_restart.py >&2

growing: ROUNDS ?= 5
growing: setup ## 3 -> 5 -> 3 members under 500 commands a second, all five replaced, ROUNDS=5 times
	@ROUNDS=$(ROUNDS) $(SOAK) -q -s tests/processes/test_growing.py >&2

jepsen: MINUTES ?= 10
jepsen: setup ## whatever can strike real processes, for MINUTES=10; histories are checked (SEED=n: the same faults)
	@MINUTES=$(MINUTES) $(SOAK) -q -s tests/processes/test_nemesis.py >&2

deaths: DEATHS ?= 100
deaths: setup ## SIGKILL of a replica within the n-th change to its disk, for n = 1..DEATHS=100
	@DEATHS=$(DEATHS) $(SOAK) -q -s tests/processes/test_disk_faults.py -k dies >&2

power-cuts: CUTS ?= 100
power-cuts: setup ## power cuts of all replicas at once, under load, CUTS=100 times
	@CUTS=$(CUTS) $(SOAK) -q -s tests/processes/test_powercut_group.py >&2

fuzz: FRAMES ?= 1000000
fuzz: setup ## FRAMES=1000000 spoiled frames, on all processors; finds nothing (SEED=n: the same frames)
	@$(BIN)/python tests/fuzz --frames $(FRAMES) $(if $(SEED),--seed $(SEED))

hostile: SECONDS ?= 20
hostile: setup ## attacks on a replica, each for SECONDS=20: others wait no longer than twice (leave the machine alone)
	@SECONDS=$(SECONDS) $(SOAK) -q -s tests/processes/test_hostile.py >&2

wheel-test: setup ## build the wheel, install it somewhere else, and use it there
	@.ci/wheel

fix: setup ## format, and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## speed, beside the floors and PySyncObj in the same run (ARGS=--quick for a smoke test)
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --group bench
	@$(BIN)/python tests/benchmarks $(ARGS)

bench-actors: setup ## speed of plain actors, beside Trio's floors and Pykka in the same run (ARGS=--quick for a smoke test)
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --group bench
	@$(BIN)/python tests/benchmarks/actors_bench.py $(ARGS)

flat: setup ## what a command costs from an empty log to one of 1,000,000, and from 1 session to 10,000
	@$(BIN)/python tests/benchmarks/flatness.py $(ARGS)

endurance: COMMANDS ?= 1000000
endurance: setup ## COMMANDS=1000000, a flood of 20 s, a state of 100 MB: memory, disk, starts, standing still (quiet machine)
	@COMMANDS=$(COMMANDS) ASKS=20000 SECONDS=20 STATE=100 $(SOAK) -q -s tests/benchmarks/test_endurance.py \
	  tests/benchmarks/test_restart.py tests/benchmarks/test_overload.py tests/benchmarks/test_large_state.py >&2

clean: ## remove what was made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
