# The two commands of the README, and what the developers run besides.
# Everything happens in .venv, made from the versions in constraints.txt.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV ?= .venv
TESTS ?=
OUT := reproduction
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow test-browser lint readme docs benchmark constraints clean

demo: $(VENV)/.demo
	$(BIN)/lazyrich reproduce fig1 fig4 --preset quick --out $(OUT)
	@echo "The pictures are $(OUT)/fig1.png and $(OUT)/fig4.png."

# Processes that share the tests say nothing of a file that is not there.
MISSING = $(foreach one,$(filter tests/% src/%,$(TESTS)),$(if $(wildcard $(firstword $(subst ::, ,$(one)))),,$(one)))

test: $(VENV)/.dev
	$(if $(strip $(MISSING)),$(error TESTS names $(strip $(MISSING)), which is not there; give files or folders of tests))
	$(BIN)/python -m pytest -q -n auto $(TESTS)

test-slow: $(VENV)/.dev
	XLA_FLAGS= $(BIN)/python -m pytest -q -n auto -m slow

# The report and the page of `lazyrich explore` in Chromium.
test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest -q -rs -m slow tests/paper/test_report_in_a_browser.py \
		tests/explorer/test_in_a_browser.py tests/explorer/test_page.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --python $(VENV) src tests benchmarks docs examples
	$(BIN)/lint-imports

readme: $(VENV)/.dev
	$(BIN)/python docs/generate.py

# NO_MKDOCS_2_WARNING: a banner of the theme about a version that pyproject.toml rules out.
docs: $(VENV)/.docs
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html."

benchmark: $(VENV)/.dev
	$(BIN)/python benchmarks/committee.py
	$(BIN)/python benchmarks/ntk/run.py
	$(BIN)/python benchmarks/ntk/peers.py
	$(BIN)/python benchmarks/training/run.py
	$(BIN)/python benchmarks/training/many.py
	$(BIN)/python benchmarks/sweeps/overhead.py
	$(BIN)/python benchmarks/sweeps/dask_speed.py

$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "lazyrich needs Python 3.11 or newer and found $(or $(PYTHON),none);" \
		"say where it is: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cli,report]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cli,report,images,dev,torch,dask,transformers]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[cli,report,images,docs]'
	@touch $@ $(VENV)/.demo

# Newest versions that fit, for every Python from 3.11 on, with uv. What PyTorch needs of CUDA
# is left to its own builds.
constraints:
	echo "torch==2.13.0" | uv pip compile pyproject.toml - --extra cli --extra report --extra images \
		--extra dev --extra dask --extra docs --extra transformers --universal \
		--python-version 3.11 --upgrade --no-header --no-annotate --no-emit-index-url --quiet \
		-o constraints.txt
	sed -i '/^\(cuda\|nvidia\|triton\)/d' constraints.txt

clean:
	rm -rf $(VENV) reproduction site
