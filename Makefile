# The commands of the README. Every target does its own set-up first; run again, set-up takes a moment only.
#   make demo [SEED=n]      make test      make lint      make help
# ROS_DISTRO=kilted make test runs over the Kilted wheels (in .venv-kilted); with a ROS distribution sourced, over that one.

PYTHON ?= python3
SEED ?= 0
VENV = $(shell $(PYTHON) scripts/setup_environment.py --where)

.PHONY: help setup demo test lint clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo [SEED=n]   generate a street, replay it through the live nodes, score and picture what comes out'
	@echo 'make test            run the tests (all but the heavy ones and those that need a GPU)'
	@echo 'make lint            check style (ruff) and types (mypy)'
	@echo 'make setup           only make the environment that the demo needs'
	@echo 'make clean           remove the environments and everything generated'
	@echo 'Variables: SEED of the demo street, PYTHON=python3.12, ROS_DISTRO=jazzy or kilted.'

setup:
	@$(PYTHON) scripts/setup_environment.py --level demo

demo: setup
	@$(VENV)/bin/occ demo --seed $(SEED)

test:
	@$(PYTHON) scripts/setup_environment.py --level test
	@$(VENV)/bin/python -m pytest -m 'not heavy and not gpu'

lint:
	@$(PYTHON) scripts/setup_environment.py --level test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/python -m mypy

clean:
	rm -rf .venv .venv-* .venv*.log out data .pytest_cache .mypy_cache .ruff_cache
