# SPDX-License-Identifier: Apache-2.0
PYTHON ?= python3
ARGS ?=
PY := .venv/bin/python
INSTALL := $(PYTHON) -P agentguard/local/install.py

.DEFAULT_GOAL := help

help: ## say what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: ## install what is missing, start the embedded platform, send sample traffic (ARGS="--once" ends)
	@$(INSTALL) core java
	@exec $(PY) -P -m agentguard.cli.main up --samples --then-install store $(ARGS)

test: ## install what is missing, then lint, types and every test that needs no container engine
	@$(INSTALL) core java dev
	@$(PY) -P tests/run.py test

properties: ## every property with 1,000 random examples
	@$(INSTALL) core java dev
	@$(PY) -P tests/run.py properties

wheel-check: ## build the wheel and use it from an empty folder
	@$(INSTALL) core java dev
	@$(PY) -P tests/run.py wheel

bench: ## measure into docs/performance.md (ARGS="--quick" for a short run)
	@$(INSTALL) core java dev
	@$(PY) -P bench/run.py $(ARGS)

docs: ## check that documents, help texts, settings and metrics say what is true
	@$(INSTALL) core java dev
	@$(PY) -P tests/run.py documents

locks: ## rewrite requirements/*.lock
	@$(PY) requirements/lock.py

.PHONY: help run test properties wheel-check bench docs locks
