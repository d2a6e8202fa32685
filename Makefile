# The two commands: make demo, make test. make help lists the others.
PYTHONS := python3 python3.13 python3.12 python3.11
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in $(PYTHONS); do \
	if command -v $$p >/dev/null && $$p -c '$(SUPPORTED)' 2>/dev/null; then echo $$p; break; fi; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Three workers for two cores: many tests wait for a process. The tests of a file share fixtures,
# and tests/conftest.py orders the files. The many processes share compiled modules.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
PARALLEL := -n $(shell echo $$(($(CORES) * 3 / 2))) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-browser fuzz check fmt bench bench-full guard gpu-check docs wheel-test lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with the exact versions of requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 found" >&2; \
		echo "hint: install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version); 8 GB on Linux, most of it torch and CUDA" >&2
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## generate a corpus, prepare it, train on it, measure: into build/demo
	@rm -rf build/demo
	$(BIN)/fv2es demo --out build/demo

test: setup ## the default tests
	$(PYTEST) $(PARALLEL)

test-slow: setup ## the tests that take minutes
	$(PYTEST) $(PARALLEL) -m slow

test-browser: setup ## drive the pages in Chromium; installs one where there is none
	FV2ES_CHROMIUM=$$(tests/browser.sh $(BIN)/python) $(BIN)/python -m pytest -m browser

fuzz: setup ## mutated files for each reader; FUZZ is the seconds for each, 3600 for a night
	FUZZ=$(or $(FUZZ),10) $(BIN)/python -m pytest tests/fuzz/fuzz_readers.py -p no:cacheprovider

check: setup ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure everything on small material; see benchmarks/README.md
	$(BIN)/python -m benchmarks --quick

bench-full: setup ## the same on long material: an hour and more
	$(BIN)/python -m benchmarks --full

guard: setup ## compare what this checkout produces with a revision: make guard AGAINST=REV
	$(BIN)/python -m benchmarks.guard against $(or $(AGAINST),HEAD)

gpu-check: setup ## parity and speed on a GPU, into docs/gpu.md; SMALL=1 tries it on a CPU
	$(BIN)/python -m benchmarks.gpu $(if $(SMALL),--small)

docs: setup ## write the generated parts of docs/ anew, and all pages as a site into build/site
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build --quiet --fail-on-warning -c docs . build/site

wheel-test: setup ## build the wheel, and run it beside modules of the same names
	$(BIN)/python -m pytest tests/test_installed.py -m slow

lock: setup ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock

clean: ## remove what was built, but not .venv
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
