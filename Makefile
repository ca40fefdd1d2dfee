# Each target does all its own set-up; a Python from 3.10 to 3.13 is all that must be there. A Paddle that this Python has
# is taken as it is.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.10; do \
	$$python -c "import tools.environment as e; e.check_python()" 2>/dev/null && echo $$python && break; done)
TESTED = $(or $(PYTHON),$(error no Python that is tested is found: make PYTHON=/path/to/python))
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo demo-portrait test test-fast test-all lint format coverage docs align fuzz certify compat notebook bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target text; do \
	printf '%-10s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.ready ## environment, embedded videos, three trainings, a table; minutes
	$(RUN) -m tools.demo

demo-portrait: $(VENV)/.ready ## drawn people, a network of masks, another background; minutes
	$(RUN) -m tools.demo_portrait

test: lint ## lint, types and the tests
	$(RUN) -m pytest -n $(WORKERS) -m "not whole"

test-fast: $(VENV)/.ready-dev ## the tests that take seconds
	$(RUN) -m pytest -n $(WORKERS) -m "not slow and not whole"

test-all: test $(VENV)/.ready-cluster ## test, and every certification and benchmark; hours
	$(RUN) -m pytest -n $(WORKERS) -m whole
	$(MAKE) docs align certify fuzz compat notebook bench

lint: $(VENV)/.ready-dev ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	@if $(RUN) -c "import numpy, sys; sys.exit(numpy.__version__.startswith(('1.', '2.0.', '2.1.', '2.2.')))"; \
	then echo "$(RUN) -m mypy" && $(RUN) -m mypy; \
	else echo "note: no type is checked here: NumPy before 2.3, the last one for Python 3.10, states its own otherwise"; fi

format: $(VENV)/.ready-dev ## ruff repairs what it can, and formats
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

coverage: $(VENV)/.ready-dev ## which lines the tests run
	$(RUN) -m pytest -n $(WORKERS) -m "not whole" --cov --cov-report=term

docs: build/.docs/.ready ## the documents and the reference of the API as a site in build/site
	NO_MKDOCS_2_WARNING=1 build/.docs/bin/python -m mkdocs build --strict

align: $(VENV)/.ready-dev ## every certified model against its PyTorch twin, then the mutants
	$(RUN) -m alignment --all
	$(RUN) -m alignment selftest --workers $(WORKERS)

fuzz: $(VENV)/.ready-dev ## damaged files and signals at random moments, many
	ACTIONALIGN_FUZZ=50 $(RUN) -m pytest -n $(WORKERS) tests/fuzz
	ACTIONALIGN_FUZZ=20 $(RUN) -m pytest -n $(WORKERS) tests/deploy/test_endings.py tests/deploy/test_kills.py
	ACTIONALIGN_FUZZ=25 $(RUN) -m pytest -n $(WORKERS) tests/deploy/test_serve.py

certify: $(VENV)/.ready-dev ## the chains of TIPC
	PATH="$(abspath $(VENV))/bin:$$PATH" bash test_tipc/certify.sh

COMPAT ?= 3.10-3.0.0 3.10-3.2.2 3.13-3.3.1
compat: $(COMPAT:%=compat-%) ## the fast tests with other Pythons, which have a Paddle already

compat-%: python = python$(word 1,$(subst -, ,$*))
compat-%:
	@$(python) -c "" || { echo "error: $(python) does not run here: make compat COMPAT='VERSION-PADDLE ...'"; exit 1; }; set -ex; \
	$(python) -m venv build/$@/outside; \
	build/$@/outside/bin/python -m pip install --quiet --disable-pip-version-check paddlepaddle==$(word 2,$(subst -, ,$*)); \
	$(MAKE) test-fast PYTHON=$(abspath build/$@/outside/bin/python) VENV=build/$@/inside

notebook: compat-3.10-3.2.2 $(VENV)/.ready-dev ## the notebook and the script task of AI Studio, run on Python 3.10
	ACTIONALIGN_PYTHON310=$(abspath build/$</inside/bin/python) $(RUN) -m pytest -m whole tests/notebooks

bench: $(VENV)/.ready-dev ## speed of inference, training and reading, against the alternatives
	$(RUN) -m tools.bench_infer
	$(RUN) -m tools.parity
	$(RUN) -m tools.bench_edge
	$(RUN) -m tools.bench_stream
	$(RUN) -m tools.bench_train
	$(RUN) -m tools.bench_data
	$(RUN) -m tools.bench_kernels
	$(RUN) -m tools.bench_growth

$(VENV)/.ready: requirements.txt constraints.txt
	$(TESTED) -m tools.environment $(VENV) requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready $(addprefix requirements-,$(addsuffix .txt,prepare dev deploy edge third-party))
	$(TESTED) -m tools.environment $(VENV) requirements-dev.txt requirements-edge.txt --no_deps requirements-third-party.txt
	touch $@

$(VENV)/.ready-cluster: $(VENV)/.ready-dev requirements-cluster.txt
	$(TESTED) -m tools.environment $(VENV) requirements-cluster.txt
	touch $@

build/.docs/.ready: requirements-docs.txt
	$(TESTED) -m venv build/.docs
	build/.docs/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean: ## environment, build and output are removed
	rm -rf $(VENV) build output
