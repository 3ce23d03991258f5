# Two commands do all set-up themselves: `make demo` and `make test`.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))
UV := $(if $(shell uv --version 2>/dev/null),uv,.venv/bin/uv)
BIN := .venv/bin

# uv does not read pip's settings: hand on the folder of wheels and the index that a machine may have for pip.
comma := ,
empty :=
space := $(empty) $(empty)
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
endif
ifneq ($(strip $(PIP_INDEX_URL)),)
export UV_DEFAULT_INDEX ?= $(strip $(PIP_INDEX_URL))
endif

# A stamp whose environment is gone, broken or moved is worth nothing.
VENV_WORKS = $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& grep -qsF '$(CURDIR)/.venv' $(BIN)/activate
$(shell { $(VENV_WORKS); } || rm -f .venv/.installed)

.PHONY: help setup demo test check bench

help:
	@echo "make setup   make .venv with everything in it"
	@echo "make demo    draw street scenes, train on them, evaluate, predict: pictures in demo/"
	@echo "make check   ruff, mypy, import-linter"
	@echo "make test    check, then pytest"
	@echo "make bench   run each script in benchmarks/ but peers.py, which installs the peers"

setup: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@{ $(VENV_WORKS); } || { rm -rf .venv && $(if $(filter uv,$(UV)),uv venv --quiet --seed --python "$(PYTHON)" .venv,"$(PYTHON)" -m venv .venv); }
	@test "$(UV)" = uv || $(UV) --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(UV) pip install --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps -e .
	@touch $@

demo: setup
	$(BIN)/segwright demo --out demo

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -n 2

bench: setup
	@for script in benchmarks/*.py; do \
		test -e "$$script" || continue; \
		test "$$script" != benchmarks/peers.py || continue; \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done
