# Two commands: `make demo` shows everything on real images, `make test` passes the tests. Both make .venv if it is absent.
PYTHON ?= python3
override PYTHON := $(patsubst 3.%,python3.%,$(PYTHON))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The versions of uv.lock, for pip; `make test CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS))
UV := build/uv/bin/uv
# What of the harness is for the machine without internet.
EXTRAS ?= slurm
# What shows that new versions compute the same: networks beside their authors', metrics, preparation, stored results.
PARITY := tests/aahn tests/baselines tests/evaluation tests/data tests/training tests/guard

# One thread each: two busy processes that share threads are many times slower than two that do not.
export OMP_NUM_THREADS ?= 1

.PHONY: env wheel wheelhouse lock update-lock demo test test-fast lint slow benchmark gpu docs clean help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: $(STAMP)  ## Make the environment .venv: the harness with everything it needs (about 7 GB)

demo: $(STAMP)  ## Run the T-CFAF ablation on real images, then write its report (about 5 minutes on two cores)
	$(BIN)/harness run studies/ablation_tcfaf.yaml --profile demo
	$(BIN)/harness report ablation_tcfaf --profile demo --format all
	@echo
	@echo "Report:       results/reports/ablation_tcfaf/demo/  (open report.html in a browser)"
	@echo "Compare runs: $(BIN)/mlflow ui    then open http://127.0.0.1:5000, experiment ablation_tcfaf"

# Modules are compiled once and kept, also where the environment asks Python not to: tests start many processes.
test test-fast slow: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)  ## Pass the tests (about four minutes on two cores)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-fast: $(STAMP)  ## Pass the unit tests: no process, no figure, no whole network
	$(BIN)/python -m pytest -m 'not benchmark and not slow and not integration'

slow: $(STAMP)  ## Pass the checks that need minutes or gigabytes; installs Ray
	$(PIP_INSTALL) -e '.[ray,slurm]'
	HARNESS_EVERY_EXAMPLE=1 $(BIN)/python -m pytest -m 'slow or hypothesis'

benchmark: $(STAMP)  ## Measure; on a quiet machine
	$(BIN)/python -m pytest -m benchmark -s

gpu: $(STAMP)  ## On a machine with a CUDA GPU: its tests, all networks eager, recorded and compiled, and one report
	$(BIN)/python scripts/gpu_report.py --out build/gpu

lint: $(STAMP)  ## Style, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(STAMP)  ## Build dist/*.whl, which installs everything without a clone
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

wheelhouse:  ## Gather every wheel in build/wheelhouse/, for machines without internet (PYTHON=3.12, EXTRAS=slurm)
	$(PYTHON) scripts/wheelhouse.py --extras '$(EXTRAS)'

lock: $(UV)  ## Take a changed pyproject.toml into uv.lock and constraints.txt; other versions stay
	$(UV) lock --default-index https://pypi.org/simple
	$(PYTHON) scripts/constraints.py

update-lock: $(UV)  ## Lock the newest versions, install them, and show that they compute the same (about ten minutes)
	$(UV) lock --upgrade --default-index https://pypi.org/simple
	$(PYTHON) scripts/constraints.py
	$(MAKE) env
	$(BIN)/python -m pytest -n auto --dist worksteal $(PARITY) tests/packaging/test_lock.py

$(UV):
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13'

docs: $(STAMP)  ## Build the documentation's site in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

clean:  ## Remove the environment and caches; results are kept
	rm -rf $(VENV) cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "Python 3.11.5 or newer is needed; name one: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[dev]'
	touch $@
