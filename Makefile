PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install test lint format types ci constraints

install:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e '.[dev]'

test:
	$(BIN)/pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types:
	$(BIN)/mypy

ci:
	bash .ci/run

# The newest versions that pyproject.toml allows, torch apart: TORCH says which, all else follows.
TORCH ?= 2.13.0
constraints:
	set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp/venv"; \
	"$$tmp/venv/bin/pip" install torch==$(TORCH) '.[dev]'; \
	"$$tmp/venv/bin/pip" freeze --all > "$$tmp/frozen"; \
	{ sed -n '/^#/p' constraints.txt; \
	  sed -E -e '/^(phenobench|pip|triton|nvidia-.*|cuda-.*) ?(==|@)/d' -e 's/\+.*//' "$$tmp/frozen" | LC_ALL=C sort -f; \
	} > "$$tmp/constraints.txt"; \
	cp "$$tmp/constraints.txt" constraints.txt
