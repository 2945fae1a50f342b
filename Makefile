# make demo    train, score, export and stream a recogniser from nothing
# make test    everything but the long tests
# make slow    the long tests
# make torture kill training at twenty random moments, and compare what becomes of it
# make bench   measure speed and memory against yardsticks (docs/performance.md); for a quiet machine
# make endurance  ten hours through one stream of the digits model; a quarter of an hour or so
# make test-k2 the core and all that uses k2, with k2 1.23.4, torch 1.13.1 and Python 3.10, where there is one
# make soak    200 clients come to a server and go, for ten minutes
# make check   format, lint, types and the fastest tests
# All of them set up .venv first. PYTHON names the interpreter to build it from.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# One thread per test process, two processes; threads that wait must not spin.
TEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile
DEMO := exp/demo
BIN_K2 := .venv-k2/bin
READY_K2 := .venv-k2/.ready
PIP_K2 := $(BIN_K2)/python -m pip install --disable-pip-version-check
# The core, which runs from torch 1.13 on; the rest is only promised for newer ones.
CORE_TESTS := tests/k2 tests/parity tests/property/test_losses.py tests/property/test_decoding.py tests/unit/test_tensors.py \
	$(addprefix tests/unit/,kernels nn models losses optim decoding checkpoint)

.PHONY: setup demo test slow torture soak bench endurance test-k2 check format wheel snapshots clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "setting up .venv (a few minutes the first time; log: .venv/install.log)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' \
		> .venv/install.log 2>&1 || { tail -20 .venv/install.log; exit 1; }
	@touch $@

demo: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh egs/demo/run.sh

test: $(READY)
	@$(TEST)

slow: $(READY)
	@$(TEST) -m slow

torture: $(READY)
	@$(TEST) --dist load -m torture tests/training

bench: $(READY)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/asr bench all

endurance: $(READY)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/asr endurance exp/digits

test-k2:
	@PYTHON_K2=$$(.ci/python310) || { \
		echo "test-k2 skipped: no Python 3.10 on the PATH, nor among the installations of pyenv and uv"; exit 0; }; \
	export PYTHON_K2; $(MAKE) --no-print-directory $(READY_K2) && \
		RILL_NEEDS_K2=1 RILL_OTHER_PYTHON="$(CURDIR)/$(BIN)/python" OMP_NUM_THREADS=1 $(BIN_K2)/python -m pytest $(CORE_TESTS)

$(READY_K2): pyproject.toml constraints-k2.txt requirements-k2.txt
	@echo "setting up .venv-k2 (a few minutes the first time; log: .venv-k2/install.log)"
	@test -x $(BIN_K2)/python || $${PYTHON_K2:-$$(.ci/python310)} -m venv .venv-k2
	@{ $(PIP_K2) --force-reinstall --no-deps --require-hashes -r requirements-k2.txt && \
		$(PIP_K2) -c constraints-k2.txt -e '.[k2]' pytest pytest-timeout hypothesis; } \
		> .venv-k2/install.log 2>&1 || { tail -20 .venv-k2/install.log; exit 1; }
	@touch $@

soak: $(READY)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m tests.soak.run

check: $(READY)
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/python -m mypy --no-error-summary
	@$(TEST) tests/unit

format: $(READY)
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

snapshots: $(READY)
	@$(BIN)/python -m tests.conf.refresh

wheel: $(READY)
	@$(BIN)/python -m pytest -q -m slow tests/wheel

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
