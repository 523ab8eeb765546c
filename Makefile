# Every target sets up what it needs; a machine with python3, pip and make will do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs pictures format clean

help:
	@echo "make demo     check the gradients of an example network"
	@echo "make test     run the tests, the examples in docstrings included"
	@echo "make lint     check format, style, types and the flow of imports"
	@echo "make bench    measure whether the error bars and the verdicts are true"
	@echo "make docs     build the documentation, docs/_build/html/index.html"
	@echo "make pictures draw the README's pictures again"
	@echo "make format   put the code in form"
	@echo "make clean    remove the environment and everything built"

demo: $(VENV)/.installed-demo
	$(BIN)/gradproof demo

# Two workers on two cores: threads of their own would only get in each other's way.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# One thread each, so that ratios of seconds are ratios of work.
bench: export OPENBLAS_NUM_THREADS = 1
bench: export OMP_NUM_THREADS = 1
bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench.calibration --write docs/compare.md
	$(BIN)/python -m bench.scorecard --write docs/compare.md
	$(BIN)/python -m bench.diagnosis --write docs/compare.md
	$(BIN)/python -m bench.blindness
	$(BIN)/python -m bench.speed --threads 1 --write docs/speed.md
	$(BIN)/python -m bench.growth --threads 1 --write docs/speed.md --plot docs/growth.svg
	$(BIN)/python -m bench.startup

# Every page is made anew: it shows what the tool says now.
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -j 2 docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The demo's images come with scikit-learn.
pictures: $(VENV)/.installed-demo
	$(BIN)/python -m bench.pictures

format: $(VENV)/.installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) build dist docs/_build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per extra: installed again only when what it installs may have changed.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --root-user-action=ignore \
		--constraint constraints.txt --editable '.[$*]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
