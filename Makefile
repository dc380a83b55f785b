# Every command of the README, and the same ones in .ci/run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# auto or cpu: let uv choose the torch build (needs a network beyond the package index). Empty: the pinned build, CPU where one is on disk.
TORCH_BACKEND ?=
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
export PLUMBLINE_PROFILE ?= sandbox

.PHONY: setup demo test test-quick check ui snapshot docs clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create the environment (quick and without effect the second time)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned environment into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS) $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND)) -c constraints.txt --build-constraints constraints.txt -e ".[dev]" \
	  || { test -z "$(TORCH_BACKEND)" && echo "uv could not install; trying pip ..." && $(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"; }
	@touch $@

demo: setup ## Run the whole chain on the sandbox and show the result
	@$(BIN)/python -m dagster_project.commands.demo

test: setup ## All tests; says at the end which were slowest and what this machine lacks
	@$(BIN)/python -m pytest -q -n auto --dist loadfile --durations=10

test-quick: setup ## The tests that take seconds
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow"

check: setup ## Format, lint, layers, types, definitions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/dg check defs

ui: setup ## Dagster webserver and daemon, and MLflow, on 127.0.0.1
	@$(BIN)/python -m dagster_project.commands.ui

snapshot: setup ## Propose the current preference data as the project's data.dvc
	@$(BIN)/python -m dagster_project.commands.snapshot

docs: setup ## Write the generated pages again
	@$(BIN)/plumbline profile markdown --output docs/configuration.md
	@$(BIN)/python tests/requirements_page.py
	@$(BIN)/python tests/layers_page.py
	@$(BIN)/python tests/gallery/page.py

clean: ## Remove everything that runs made; the environment stays
	rm -rf .plumbline .pytest_cache .mypy_cache .ruff_cache dist
