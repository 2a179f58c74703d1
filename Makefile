PYTHON ?= python3
DATA ?= digits
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install search test bench run cuda export lab docs browse colab floors clean

BIN := .venv/bin
INSTALLED := .venv/.installed
COLAB := .colab/.made
NOTEBOOKS := $(BIN)/python tools/notebooks.py

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Each target first makes .venv (7 GB) when it is missing or its requirements changed."
	@echo "PYTHON=python3.12 make … chooses the interpreter for a new .venv."

$(INSTALLED): settings.ini setup.py
	@test -e $@ || $(PYTHON) tools/space.py .venv 7
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; the first time downloads PyTorch, and takes minutes and 7 GB."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@PYTHONWARNINGS="ignore:Editable installation." \
	 $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

install: $(INSTALLED) ## make .venv (7 GB) with the package and all that it takes to run and change the notebooks

search: $(INSTALLED) ## search a cell without labels (DATA=digits), then measure it with labels
	$(BIN)/csnas search --data $(DATA) --trials 30 --run runs/$(DATA)
	$(BIN)/csnas evaluate runs/$(DATA) --against DARTS_V2 --against median-random --seeds 3

test: $(INSTALLED) ## run every check, as CI does; changes nothing
	@$(NOTEBOOKS) test

export: $(INSTALLED) ## write badges, csnas_nb/, pyproject.toml and README.md from the notebooks
	@$(NOTEBOOKS) stamp
	@$(NOTEBOOKS) export
	@$(NOTEBOOKS) readme

bench: $(INSTALLED) ## measure the package against plain PyTorch, about ten minutes
	$(BIN)/python benchmarks/speed.py

run: $(INSTALLED) ## export, then execute the default tier in place (slow cells keep their outputs)
	@$(NOTEBOOKS) stamp
	@$(NOTEBOOKS) export
	@$(NOTEBOOKS) run
	@$(NOTEBOOKS) readme

cuda: $(INSTALLED) ## on a machine with a GPU: execute in place the notebooks that have cells flagged cuda
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("There is no GPU that PyTorch can use here.")'
	@for notebook in $$(grep -rl --include='*.ipynb' '"#| cuda' nbs); do $(NOTEBOOKS) run --cuda $$notebook || exit 1; done

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	PATH="$(CURDIR)/$(BIN):$$PATH" JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab nbs

docs: $(INSTALLED) ## build the site in docs/
	@$(NOTEBOOKS) docs

browse: $(INSTALLED) ## click through the site in docs/ with Chromium, at the widths of a desk and a phone
	@$(NOTEBOOKS) browse

$(COLAB): | $(INSTALLED)
	@$(PYTHON) tools/space.py .colab 6
	$(BIN)/python -m venv --clear .colab
	@echo "Installing into .colab what Colab has; this takes minutes and 6 GB."
	@.colab/bin/python -m pip install --quiet --disable-pip-version-check torch torchvision numpy scikit-learn \
	 matplotlib pandas ipykernel nbconvert
	@touch $@

colab: $(INSTALLED) $(COLAB) ## run every notebook alone with only what Colab has, more than an hour (makes .colab, 6 GB)
	@$(NOTEBOOKS) colab

floors: $(INSTALLED) ## try the package with the oldest versions that settings.ini allows (300 MB, some minutes)
	@$(BIN)/python tools/floors.py

clean: ## remove build products, staged pages and caches (not .venv, .colab, runs)
	rm -rf build dist *.egg-info _proc nbs/nbdev.yml .ruff_cache .pytest_cache .mypy_cache
	find . \( -path ./.venv -o -path ./.colab -o -path ./runs \) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
