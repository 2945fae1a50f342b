# make demo    train, score, export and stream a recogniser from nothing
# make test    everything but the long tests
# make slow    the long tests
# make bench   measure speed and memory against yardsticks (docs/performance.md); for a quiet machine
# make check   format, lint, types and the fastest tests
# All of them set up .venv first. PYTHON names the interpreter to build it from.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# One thread per test process, two processes; threads that wait must not spin.
TEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile
DEMO := exp/demo

.PHONY: setup demo test slow bench check format wheel snapshots clean

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

bench: $(READY)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/asr bench all

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
