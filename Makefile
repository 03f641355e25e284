# Everything runs from .venv, which `make setup` fills and the other targets ask for.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
SPHINXOPTS ?= -W --keep-going

.PHONY: setup demo test lint docs bench clean help
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  \1\t/'

# A build for CUDA brings gigabytes of libraries that are of no use without a GPU.
define CHECK_CPU_ONLY
import importlib.metadata, os, sys
import torch
names = {(d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
found = sorted(n for n in names if n == "triton" or n.startswith(("nvidia-", "cuda-", "pytorch-triton")))
if torch.version.cuda is not None:
    found.insert(0, f"torch {torch.__version__} built for CUDA {torch.version.cuda}")
if found and os.environ.get("ALLOW_CUDA") != "1":
    sys.exit(
        f"CUDA packages were installed: {', '.join(found)}. geoxr is set up with a CPU-only torch here.\n"
        "With a GPU: make setup ALLOW_CUDA=1\n"
        "Without: rm -rf .venv, let pip find a CPU-only wheel of torch (PIP_FIND_LINKS or "
        "PIP_EXTRA_INDEX_URL), then make setup"
    )
endef
export CHECK_CPU_ONLY
export ALLOW_CUDA

setup: $(STAMP)  ## create .venv with everything in it; seconds when nothing changed

# torch comes first and by its exact version, so that nothing else chooses another build of it.
$(STAMP): pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time takes some minutes."
	$(PIP) install --quiet -c constraints.txt $(TORCH)
	@$(BIN)/python -W ignore -c "$$CHECK_CPU_ONLY"
	$(PIP) install --quiet -c constraints.txt -e ".[all,test,docs,dev]"
	@$(BIN)/python -W ignore -c "$$CHECK_CPU_ONLY"
	@touch $(STAMP)

demo: $(STAMP)  ## train and map on data it makes itself, into demo/ (ARGS="--fast" and others)
	$(BIN)/geoxr demo --out demo --overwrite $(ARGS)

test: $(STAMP)  ## run tests and doctests (ARGS="-n 2" and others)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(STAMP)  ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build $(SPHINXOPTS) -b html docs docs/_build/html

bench: $(STAMP)  ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove what was built, but not .venv and demo/
	rm -rf build dist docs/_build docs/_generated docs/_notebooks
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find geoxr tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
