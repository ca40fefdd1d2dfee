# Each target does all its own set-up; Python 3.11 is all that must be there.
PYTHON ?= python3.11
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKERS ?= 2

.PHONY: demo test test-fast lint clean

demo: $(VENV)/.ready
	$(RUN) -m tools.demo

test: lint
	$(RUN) -m pytest -n $(WORKERS)

test-fast: $(VENV)/.ready-dev
	$(RUN) -m pytest -n $(WORKERS) -m "not slow"

lint: $(VENV)/.ready-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt requirements-deploy.txt requirements-third-party.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-deploy.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-third-party.txt
	touch $@

clean:
	rm -rf $(VENV) build output
