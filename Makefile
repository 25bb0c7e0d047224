# make test   a virtual environment, lint, types, docs, tests: needs Python 3.11, pip and make, nothing else
# make demo   the same environment without the developers' tools, then the demonstration

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH  ?= torch==2.13.0
ASSETS ?= minilm-l3 minilm-l6 smollm2-135m rotten-tomatoes customer-reviews
PYTEST_ARGS ?=

BIN   := .venv/bin
READY := .venv/.installed
DEV   := .venv/.installed-dev
PIP   := $(BIN)/python -m pip --disable-pip-version-check
comma := ,

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup dev assets format lint types docs notebook docs-figures test coverage slow exhaustive conformance fuzz oldest newest \
	demo bench dist clean

help:
	@echo 'make test | coverage | slow | exhaustive | conformance | fuzz | oldest | newest'
	@echo '     demo | format | lint | types | docs | notebook | bench | dist | clean'

# torch comes first and pinned: a range would make pip fetch gigabytes of CUDA libraries that nothing here needs.
# pip would compile 17,000 files one after another: that is left to all cores, once.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --no-compile '$(TORCH)'
	$(PIP) install --quiet --no-compile -e '$(1)'
	$(BIN)/python -W ignore -m compileall -qq -j 0 .venv/lib || true
endef

$(READY): pyproject.toml
	$(call install,.)
	touch $@

$(DEV): pyproject.toml
	$(call install,.[dev$(comma)docs])
	touch $(READY) $@

setup: $(READY)

dev: $(DEV)

assets: $(READY)
	$(BIN)/untrigger assets fetch $(ASSETS)

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The import contracts are part of the tests too.
lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(DEV)
	$(BIN)/mypy

# The site, into site/; nothing in it is fetched from elsewhere. Five seconds of one core.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Workers begin with halves of the list, so that a fixture is made by one of them, and end by taking tests from each other.
test: $(DEV) lint types docs assets
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# The same tests with coverage of lines and branches, which costs half their time again.
coverage: $(DEV) assets
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

# Real models, whole purifications and interruptions. Only the files that hold such tests are read.
slow: $(DEV) assets
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow $$(grep -rl --include='test_*.py' mark.slow tests) $(PYTEST_ARGS)

# The claims of `make test` and `make slow` on more seeds, pools and architectures.
exhaustive: $(DEV) assets
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m exhaustive $$(grep -rl --include='test_*.py' mark.exhaustive tests) $(PYTEST_ARGS)

# The whole matrix of models, tokenizers and adapters against plain transformers and peft: 640 tests, three minutes on two cores.
# A slice of 120 of them is part of `make test`.
conformance: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "" tests/conformance $(PYTEST_ARGS)

# The slice of the conformance suite and the loading tests with the oldest allowed torch, transformers and peft. That torch brings
# gigabytes of CUDA libraries; OLDEST_TORCH=torch==2.13.0 takes the one at hand.
OLDEST_TORCH ?= torch==2.7.0
oldest:
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip --disable-pip-version-check install --quiet '$(OLDEST_TORCH)' -r tests/oldest.txt
	PYTHONPATH=src OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n auto tests/conformance tests/models $(PYTEST_ARGS)

# The same with the newest releases, pre-releases included, that the index has. The torch stays the pinned one.
newest:
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip --disable-pip-version-check install --quiet '$(TORCH)'
	.venv-newest/bin/python -m pip --disable-pip-version-check install --quiet --upgrade --pre -e '.[dev]' '$(TORCH)'
	OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest -n auto tests/conformance tests/models $(PYTEST_ARGS)

# Two hundred kinds of damage, singly and in pairs, and a hundred killed runs; a slice is part of `make test`.
fuzz: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "fuzz or not fuzz" tests/fuzz $(PYTEST_ARGS)

# The notebook's outputs, and the two figures that are drawn from its run.
notebook: $(READY)
	$(PIP) install --quiet -e '.[notebook]'
	$(BIN)/python benchmarks/notebook.py

# All figures of README and docs: those of the notebook, then one scan of a model of the zoo as the terminal and Chromium show it.
docs-figures: notebook
	$(BIN)/python benchmarks/figures.py

demo: $(READY)
	$(BIN)/untrigger demo

bench: $(READY)
	$(BIN)/python benchmarks/w2sdefense.py

# Wheel and sdist in dist/.
dist: $(DEV)
	$(BIN)/python -m build

clean:
	rm -rf .venv .venv-oldest .venv-newest build dist site .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
