# `make help` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LONG := chaos or large or drill

.DEFAULT_GOAL := help
.PHONY: help install run test lint bench chaos outage media stores budget-drill lock demo-telegram clean

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv from requirements.lock (the others do it when needed)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Ragline needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/pip check --disable-pip-version-check
	$(BIN)/python -m compileall -q $(VENV)/lib >/dev/null 2>&1 || true
	$(BIN)/python -m storage.embedder.export
	@touch $(STAMP)

run: $(STAMP) ## Start the whole system on this machine
	$(BIN)/ragline up

# Whole stacks and browsers want both cores for themselves.
test: $(STAMP) ## Run the tests
	$(BIN)/pytest -n 2 --dist loadfile -m 'not (stack or browser or $(LONG))'
	$(BIN)/pytest -m '(stack or browser) and not ($(LONG))'

lint: $(STAMP) ## Check style, types, imports and the schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
		DATABASE_URL="sqlite:///$$scratch/check.sqlite3" RAGLINE_CONFIG=/dev/null sh -c \
		'$(BIN)/ragline db upgrade && $(BIN)/ragline db check'

bench: $(STAMP) ## Measure import, retrieval, pipeline, ingress, history and streaming
	$(BIN)/python -m bench.kb_import
	$(BIN)/python -m bench.retrieval_latency
	$(BIN)/python -m bench.pipeline --database sqlite
	$(BIN)/python -m bench.pipeline --database postgresql
	$(BIN)/python -m bench.ingress
	$(BIN)/python -m bench.history
	$(BIN)/python -m bench.streaming

chaos: $(STAMP) ## Kill and break everything under load, on both databases, and show that the test has teeth
	$(BIN)/python -m tests.chaos --database sqlite
	$(BIN)/python -m tests.chaos --database postgresql
	$(BIN)/pytest -m chaos tests/chaos

outage: $(STAMP) ## Two minutes of failing model providers under 200 conversations
	OUTAGE_CONVERSATIONS=$${OUTAGE_CONVERSATIONS:-200} OUTAGE_SECONDS=$${OUTAGE_SECONDS:-60} $(BIN)/pytest -m drill tests/acceptance/test_outage.py

media: $(STAMP) ## Files of each channel through each provider; MEDIA_TABLE=FILE writes the table down
	$(BIN)/pytest -m 'drill or not drill' tests/acceptance/test_media.py

stores: $(STAMP) ## The contract of the vector stores at 100,000 rows, and how they grow (many minutes)
	$(BIN)/pytest -m large tests/storage
	$(BIN)/python -m bench.stores encoder
	$(BIN)/python -m bench.stores reindex
	$(BIN)/python -m bench.stores growth

budget-drill: $(STAMP) ## 500 turns on a budget good for 100 calls, on both databases
	DRILL_TURNS=500 DRILL_CALLS=100 $(BIN)/pytest tests/workers/test_budget.py -k drill

lock: ## Renew requirements.lock from pyproject.toml
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet -e '.[dev]'
	{ sed -n '/^#/p' requirements.lock; .venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f; } \
		> requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

demo-telegram: $(STAMP) ## Talk to a Telegram bot in the terminal, without Telegram
	$(BIN)/python -m tests.support.demo_telegram

clean: ## Remove the environment and caches; data/ stays
	rm -rf $(VENV) .venv-lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
