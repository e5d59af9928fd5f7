# Needs Python 3.11 or newer with venv, and make. Everything is installed into .venv, beside this file.
#
#   make demo    a photograph through the edge detector; LeNet-5 learns to read digits, in less than a minute
#   make test    every test
#   make lint    style, format and types
#   make docs    the documentation, into site/
#   make bench   the tables of benchmarks/
#   make clean   removes .venv and everything that was built

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint docs bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	@$(BIN)/python examples/demo.py

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --strict

docs: $(VENV)/installed-dev
	$(BIN)/python tools/generate_docs.py --check
	$(BIN)/python -m mkdocs build --strict --quiet

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/frontend.py

clean:
	rm -rf $(VENV) build dist site demo-output *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which pyproject.toml was installed; the package itself is installed as a link to this folder.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "netdsl needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "installing netdsl into $(VENV) ..."
	@$(PIP) install --editable '.[examples,plot]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing netdsl and what its tests need into $(VENV) ..."
	@$(PIP) install --editable '.[dev,examples,plot]'
	@touch $(VENV)/installed $@
