# `make setup` once, then `make test lint types docs`; CONTRIBUTING.md explains the tiers.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
JOBS ?= 2

.PHONY: help setup test test-quick test-rest lint types docs examples bench validation

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## virtual environment .venv with the dev extra, and the pre-commit hooks
	python3 -m venv .venv
	.venv/bin/python -m pip install -e '.[dev]'
	.venv/bin/pre-commit install

test: ## the quick tier, then the rest
	$(MAKE) test-quick
	$(MAKE) test-rest

test-quick: ## the quick tier: at most 90 s on two cores
	$(PYTHON) -m pytest -n $(JOBS) -q -m quick

test-rest: ## all other tests
	$(PYTHON) -m pytest -n $(JOBS) -q -m "not quick"

lint: ## ruff: rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: ## mypy --strict over the package
	$(PYTHON) -m mypy

docs: ## the documentation as a web site in build/site; a broken link is an error
	$(PYTHON) -m mkdocs build --strict

examples: ## the outputs of the program that the docs show
	$(PYTHON) docs/examples.py

bench: ## speed and memory, as ratios to a plain scan of the same tables (minutes)
	$(PYTHON) benchmarks/speed.py

validation: ## docs/validation*.md and their figures from docs/data
	$(PYTHON) docs/validation.py render
