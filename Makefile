# Two commands for a user, on a machine with Python 3.11 and nothing else:
#   make quickstart    train on real data, in about a minute after the install
#   make test          everything that CI runs
#   make nightly       the tests that are too long for every change
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test nightly fast lint install install-test clean

quickstart: install
	$(BIN)/python -m parle_ray quickstart

test: lint fast
	$(BIN)/python -m pytest -m "ray and not nightly" tests

nightly: $(VENV)/installed-nightly
	$(BIN)/python -m pytest -m nightly tests

fast: install-test
	$(BIN)/python -m pytest -n auto -m "not ray and not nightly" tests

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/installed

install-test: $(VENV)/installed-test

$(VENV)/installed: requirements.txt
	@echo "installing into $(VENV): torch brings about 6 GB, which takes some minutes once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-test: $(VENV)/installed tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

$(VENV)/installed-nightly: $(VENV)/installed-test tests/requirements-nightly.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-nightly.txt
	@touch $@

clean:
	rm -rf $(VENV)
