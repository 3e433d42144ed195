# What inference costs on this machine. `make` alone lists what there is.

PROFILE ?= standard
TORCH   ?= auto
PYTHON  ?= python3
VENV    ?= .venv
ARGS    ?=
BASE    ?=
HEAD    ?=

bootstrap  := $(PYTHON) -I inferbench_lib/bootstrap.py --venv $(VENV) --torch $(TORCH)
python     := $(VENV)/bin/python
inferbench := $(python) -m inferbench_lib

# Kernels are this environment's own, whatever else is installed for Jupyter on the machine.
unexport JUPYTER_PATH
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.PHONY: help report quick compare lab test lint calibrate mutants picture lock clean environment tools browser

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  PROFILE=standard  quick, standard, gtx_750_ti, thorough'
	@echo '  TORCH=auto        auto (CUDA where there is an NVIDIA driver), cpu, cuda'
	@echo '  PYTHON=python3    a Python of 3.11 or newer; VENV=.venv the environment made with it'
	@echo '  ARGS=             more arguments for the command'

report: environment ## measure this machine and write reports/index.html
	@$(inferbench) report --profile $(PROFILE) $(ARGS)

quick: override PROFILE := quick
quick: report ## the same with small workloads, in a minute and a half

lab: environment ## explore the notebooks in JupyterLab
	@$(inferbench) lab $(ARGS)

compare: environment ## what changed from one run to another: BASE=<run> HEAD=<run>
	@$(inferbench) compare --base "$(BASE)" --head "$(HEAD)" $(ARGS)

calibrate: environment ## check the measuring itself on this machine
	@$(inferbench) calibrate $(ARGS)

test: tools browser lint ## lint, type-check and run every test
	@$(python) -m pytest $(ARGS)

lint: tools ## check style, notebooks and types
	@$(python) -m ruff check --quiet
	@$(python) -m ruff format --check --quiet
	@$(python) -m nbstripout --verify notebooks/*.ipynb
	@$(python) -m mypy

mutants: tools ## break the measuring code on purpose: each break must fail a test
	@$(python) tests/mutants.py $(ARGS)

picture: browser ## take the README's picture of the newest standard report
	@$(python) tests/picture.py

lock: ## resolve the dependencies again (needs uv)
	uv pip compile --quiet --python-version 3.11 pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --python-version 3.11 pyproject.toml --extra dev --output-file requirements-dev.lock

clean: ## remove the environment and caches; reports stay
	@test ! -e $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	@rm -rf .cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info

environment:
	@$(bootstrap)

tools:
	@$(bootstrap) --dev

browser: tools
	@$(python) tests/setup_browser.py
