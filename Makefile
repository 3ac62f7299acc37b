# make demo    install into .venv and draw 100 new molecules          make test    the tests
# make lint    ruff, pyright                                          make format  let ruff lay out the code
# make venv    everything for development, tests and benchmarks       make clean   forget .venv and what was built
#
# PYTHON=python3.12 chooses another interpreter (3.11 or newer), JOBS=4 the number of test processes.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

# Two programs that share the cores must not burn them while they wait for each other.
export OMP_WAIT_POLICY := PASSIVE

.DELETE_ON_ERROR:
.PHONY: demo test lint format venv clean

demo: $(VENV)/.molecules
	$(BIN)/sciflow generate molecules -n 100 --seed 0 -o demo
	@echo
	@echo "New molecules, measured and drawn:"
	@ls demo | sed 's|^|  demo/|'

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: $(VENV)/.dev

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache

# One chain of stamps, so that no two pips ever work on one environment, whatever `make -j` starts together.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11 or newer; do: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
# torch goes first and alone: then no other package can ask for a newer one, and bring its gigabytes.
	$(PIP) torch
	@touch $@

$(VENV)/.molecules: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[molecules]'
	@touch $@

$(VENV)/.dev: $(VENV)/.molecules
	$(PIP) -e '.[dev]'
	@touch $@
