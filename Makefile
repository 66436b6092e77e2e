# `make` alone prints the targets.
.DEFAULT_GOAL := help
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
            $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help check baseline test test-frameworks foreign power mutate calibrate bench peers soak clean

help:  ## print this
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  make %-16s%s\n", $$1, $$2}' Makefile

check: $(VENV)/base  ## judge every layer of `layers`, and say what changed since reports/baseline.json: reports/layers.html and .json
	$(BIN)/gradcheck run layers -j $(JOBS) --title layers --baseline reports/baseline.json -o reports/layers.html -o reports/layers.json

baseline: $(VENV)/base  ## keep what the last `make check` found as the state to compare with: reports/baseline.json
	$(BIN)/gradcheck report reports/layers.json --bare -o reports/baseline.json

test: $(VENV)/dev  ## ruff, mypy and the tests that need no framework
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto -m "not frameworks"

test-frameworks: $(VENV)/frameworks  ## the tests that need PyTorch, JAX, autograd, numpy-ml, EpyNN or scikit-learn
	$(BIN)/pytest -n auto -m frameworks

foreign: $(VENV)/frameworks  ## judge other people's layers, unmodified: reports/foreign.html and .json
	$(BIN)/gradcheck run $(sort $(wildcard tests/foreign/*_cases.py)) -j $(JOBS) --title "layers of other packages" -o reports/foreign.html -o reports/foreign.json

power: $(VENV)/frameworks  ## every wild defect against every check, and torch's gradcheck: reports/power.html and .json
	$(BIN)/python tests/power.py -j $(JOBS)

mutate: $(VENV)/base  ## make the backward of every layer wrong, one place at a time: do the checks notice? reports/mutate.html and .json (about 30 minutes)
	$(BIN)/gradcheck mutate layers -j $(JOBS) --title "mutants of layers" -o reports/mutate.html -o reports/mutate.json

calibrate: $(VENV)/frameworks  ## is the bound true, and how small an error is seen: reports/calibration.html and .json (about 7 minutes)
	$(BIN)/python -m tests.calibration

bench: $(VENV)/dev  ## how fast the layers are: reports/bench.html and .json (about 3 minutes, on a quiet machine)
	$(BIN)/gradcheck bench layers -o reports/bench.html -o reports/bench.json

peers: $(VENV)/frameworks  ## the layers beside PyTorch's and numpy-ml's, and the check beside torch's: reports/peers.html and .json
	$(BIN)/python tests/peers.py

soak: $(VENV)/base  ## no false alarm in 100,000 generated cases: reports/soak.html and .json; goes on where it was interrupted (hours)
	$(BIN)/gradcheck run layers -j $(JOBS) --profile soak --select adjoint --select linear --select shapes --select pure \
		--resume reports/soak.jsonl --title "100,000 cases" -o reports/soak.html -o reports/soak.json

clean:  ## remove the environment, the caches and the written reports
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage
	rm -f reports/*.html reports/*.jsonl reports/bench.json reports/peers.json reports/soak.json reports/layers.json reports/foreign.json reports/calibration.json reports/power.json reports/mutate.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# the environment, in layers; a stamp is as old as what it was made from
$(VENV)/base: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none was found; say which with make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/base
	$(PIP) --editable '.[dev]'
	@touch $@

# numpy-ml and EpyNN pin versions that conflict with everyone's: they run with the ones that are here
$(VENV)/frameworks: $(VENV)/dev
	$(PIP) --editable '.[torch,jax,autograd,examples,executors]'
	$(PIP) --no-deps numpy-ml==0.1.2 epynn==1.2.13
	@touch $@
