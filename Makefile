# Two commands on a fresh machine with Python 3.11 (venv) and make: `make demo` and `make test`.
#   make demo [SECONDS=90] [PORT=8081] [SPEED=10] [HEAD_END=1]

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

# The matrices here are small: one thread each is faster than many on a shared machine.
export OMP_NUM_THREADS := 1

RUN := .venv/.installed-run
DEV := .venv/.installed-dev

.PHONY: demo test lint slow bench sweep events program-year results forecast-results uncertainty forecast-effect campaign kills mutants lock clean
.DEFAULT_GOAL := test

# With a terminal the demo gets a process group of its own, so Ctrl-C ends the demo (exit 0) and not make.
demo: $(RUN)
	@if [ -t 0 ] && [ -t 1 ]; then set -m; run=; else run=exec; fi; \
	$$run $(BIN)/ems demo $(if $(SPEED),--speed $(SPEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PORT),--port $(PORT)) $(if $(HEAD_END),--head-end) || exit $$?

test: lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not bench"

lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(DEV)
	$(BIN)/pytest -m slow

bench: $(DEV)
	$(BIN)/pytest tests/benchmarks -m bench -s -p no:xdist

# Seeded faults over whole simulated days: make campaign [DAYS=30] [SEED=1] [JOBS=2] [TABLE=1]. Goes on where it was interrupted.
campaign: $(DEV)
	$(BIN)/python tests/campaign/campaign.py --days $(or $(DAYS),30) --seed $(or $(SEED),1) --jobs $(or $(JOBS),2) $(if $(TABLE),--table)

# Random kills of the real control process and one at every named point; writes tests/campaign/kills.md.
kills: $(DEV)
	$(BIN)/python tests/campaign/kills.py --kills $(or $(KILLS),200) --seed $(or $(SEED),1) --table

# Every patch of tests/mutants is a defect of guard or field; each must be caught.
mutants: $(DEV)
	$(BIN)/python tests/mutants/mutants.py

sweep: $(DEV)
	$(BIN)/python tests/campaign/sweep.py

# 300 random grid events in closed loop: tests/campaign/events.md. make events [ONLY=1-20] [KEEP=1]. Goes on where it was interrupted.
events: $(DEV)
	$(BIN)/python -m tests.campaign.events $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

# A year of events under five stacked programmes, twice: tests/campaign/program-year.md. About a minute of CPU.
program-year: $(DEV)
	$(BIN)/python -m tests.campaign.program_year --write

# The named scenarios under several seeds and weeks, every plant 10 % off its file: tests/campaign/results.md. Goes on where it was stopped.
results: $(DEV)
	$(BIN)/python -m tests.campaign.results $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)
	$(BIN)/python -m tests.campaign.results_battery $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

# The load section of tests/benchmarks/forecast.md, from the folder of real data.
forecast-results: $(DEV)
	$(BIN)/python -m ems.forecast.load_results $${EMS_DATA_DIR:-../shared/data} tests/benchmarks/forecast.md

# Development weeks in closed loop on the real data, an hour or more each; they go on where they were interrupted.
uncertainty forecast-effect: $(DEV)
	$(BIN)/python tests/benchmarks/$(subst -,_,$@).py

# The development lock holds all of the other, so an environment that has it serves the demo too.
$(RUN): requirements/lock.txt pyproject.toml
	@if [ -f $(DEV) ]; then $(MAKE) --no-print-directory $(DEV); else $(call install,lock); fi
	@touch $@

$(DEV): requirements/lock-dev.txt pyproject.toml
	@$(call install,lock-dev)
	@touch $(RUN) $@

define install
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
	echo "installing requirements/$(1).txt into .venv (the first time about a minute)"; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/$(1).txt; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
endef

# Keeps the versions that are locked; `make lock UPGRADE=1` takes the newest that pyproject.toml allows.
COMPILE = "$$uv"/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	$(if $(UPGRADE),--upgrade) pyproject.toml
lock:
	@uv=$$(mktemp -d); trap 'rm -rf "$$uv"' EXIT; \
	$(PYTHON) -m venv "$$uv"; "$$uv"/bin/pip install -q --disable-pip-version-check uv; \
	$(COMPILE) --group build -o requirements/lock.txt; \
	$(COMPILE) --group build --group dev --group oracle --extra postgres --extra forecast --extra openadr2 --extra mqtt -c requirements/lock.txt -o requirements/lock-dev.txt; \
	echo 'schemathesis==4.32.5' | "$$uv"/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate $(if $(UPGRADE),--upgrade) - -o requirements/lock-fuzz.txt; \
	! grep -n '://' requirements/*.txt

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
