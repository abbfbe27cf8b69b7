# Everything runs from .venv, which the first target that needs it makes from requirements.lock.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# The tests of a file share what they set up; those at the front take longest, and more wait than there are cores for.
FILES := --dist loadfile --no-loadscope-reorder

.PHONY: demo test cluster criteria criteria-stale unit check format bench bench-scaling gpu clean

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON to one."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

demo: .venv/ready  ## Train CLIP on real digits with WORKERS workers, and ask the model.
	$(BIN)/sensorium train clip --workers $(WORKERS)

test: export SENSORIUM_TEST_SKIPPED = .venv/skipped
test: .venv/ready  ## Run all tests but those of `cluster` and `criteria`.
	@$(BIN)/python tests/needs.py set-up
	@rm -f $(SENSORIUM_TEST_SKIPPED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not ray and not cluster and not criteria" -n 3 $(FILES)
	$(BIN)/python -m pytest tests/integration -m "ray and not cluster and not criteria"
	@$(BIN)/python tests/needs.py told $(SENSORIUM_TEST_SKIPPED)

cluster: .venv/ready  ## Run the tests on real clusters, of searches, endpoints and every task.
	$(BIN)/python -m pytest -m cluster

criteria: .venv/ready  ## Train what plugins have to reach, of TASK alone and with the first SEEDS seeds if given.
	SEEDS=$(SEEDS) $(BIN)/python -m pytest -m criteria tests/criteria $(if $(TASK),-k "sensorium_$(TASK):")

criteria-stale: .venv/ready  ## List the results that today's code would not reach again.
	$(BIN)/python tests/criteria/stale.py

unit: .venv/ready  ## Run the tests that need seconds, on two cores.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit tests/plugins -m "not learn" -n 2 $(FILES)

check: .venv/ready  ## Format, lint and types.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: .venv/ready  ## Put the code into shape.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/ready  ## Print the ratios of all benchmarks.
	for script in tests/benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-scaling: .venv/ready  ## Print samples a second of each task with one and with two workers.
	$(BIN)/python tests/benchmarks/task_scaling.py

gpu:  ## Where a GPU is, hold every task to the processor's losses and time CLIP, in ten minutes and any PYTHON with torch.
	$(PYTHON) tests/gpu/run.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
