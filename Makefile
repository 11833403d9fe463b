VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: quickstart test slow soak notebooks docs lint types check clean

quickstart: $(VENV)/.installed  ## train, score and sample a CGAN on real digits
	$(BIN)/condgen quickstart

test: $(VENV)/.installed-dev  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/.installed-dev  ## the tests that take half a minute or more each
	$(BIN)/python -m pytest -n 2 -m slow

soak: $(VENV)/.installed-dev  ## hours of kills, signals, hostile and damaged input; goes on where it stopped; SOAK="kills --minutes 5" for a part
	$(BIN)/python -m experiments.soak.run $(SOAK)

notebooks: $(VENV)/.installed-dev  ## run all notebooks
	$(BIN)/python -m pytest -n 2 -m slow tests/test_notebooks.py

docs: $(VENV)/.installed-dev  ## build the documents into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) dist build site

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	touch $@
