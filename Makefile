# From a clean clone: `make run`, `make test`. Needs Python 3.11 or newer with venv, and a C compiler.
# Everything that sets up writes to stderr, so that stdout carries what the command gives and nothing else.

MAKEFLAGS += --no-print-directory
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find cstd -name '*.pyx' -o -name '*.pxd' -o -path 'cstd/_fast/csrc/*.[ch]')
AGENTS := $(shell find cstd/signals/agents cstd/signals/strategies -name '*.py')
RECORDING := $(wildcard $(CSTD_DATA)/recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst)

.PHONY: run test bench benchmarks score-bench budget floor growth peers agreement picture round-trip burst burst-peer scale tail soak memory measuring digests why start journal recovery hostile fuzz
.PHONY: simulate prove mutants chaos sanitize controls metrics check build wheel lock clean
.DELETE_ON_ERROR:

run: build
	@exec $(BIN)/cstd session $(if $(FOR),--for $(FOR)) $(if $(TLS),--tls)

# Most of the tests' time is waiting for daemons: without ARGS those tests run in three processes beside all others, each of which
# takes about as long.
WAITING_1 := tests/chaos $(wildcard tests/integration/test_[a-c]*.py)
WAITING_2 := tests/jobs tests/ops $(wildcard tests/integration/test_[d-l]*.py)
WAITING_3 := $(wildcard tests/integration/test_[m-z]*.py)
WAITING := $(WAITING_1) $(WAITING_2) $(WAITING_3)
ifeq ($(ARGS),)
test: build $(VENV)/.test-installed
	@mkdir -p build; \
	$(BIN)/python -m pytest $(WAITING_1) >build/waiting-tests-1.log 2>&1 & first=$$!; \
	$(BIN)/python -m pytest $(WAITING_2) >build/waiting-tests-2.log 2>&1 & second=$$!; \
	$(BIN)/python -m pytest $(WAITING_3) >build/waiting-tests-3.log 2>&1 & third=$$!; passed=0; \
	trap 'kill $$first $$second $$third 2>/dev/null' INT TERM; \
	$(BIN)/python -m pytest tests $(WAITING:%=--ignore=%) || passed=1; \
	for waiting in $$first $$second $$third; do wait $$waiting || passed=1; done; \
	cat build/waiting-tests-1.log build/waiting-tests-2.log build/waiting-tests-3.log; exit $$passed
else
test: build $(VENV)/.test-installed
	@$(BIN)/python -m pytest $(ARGS)
endif

bench: build
	@$(BIN)/cstd bench $(if $(RECORDING),--recording $(RECORDING)) $(ARGS)

# The benchmark suite by kernel and by what the cost grows with: ARGS=--benchmark-json=FILE keeps the figures.
benchmarks: build $(VENV)/.test-installed
	@$(BIN)/python -m pytest bench/test_path.py bench/test_conflation.py bench/test_scorer.py --benchmark-columns=min,median,stddev $(ARGS)

# Batches of the scorer by number of rows, on the CPU, or on a GPU and compared with it: DEVICE=cpu|cuda.
score-bench: build $(VENV)/.test-installed
	@PYTHONPATH=. $(BIN)/python bench/scorer.py --device $(or $(DEVICE),cpu) $(ARGS)

# Instructions per frame against the stored budget: a slow-down that no timing on a shared machine would show.
budget: build
	@$(BIN)/python bench/instructions.py $(ARGS)

# The compiled path against a C++ program that does the same work, in one run.
floor: build
	@$(BIN)/python bench/floor/ratio.py $(ARGS)

# What a frame costs as instruments, depth and history grow, beside the same work in C++.
growth: build
	@$(BIN)/python bench/growth.py $(ARGS)

# Other clients on the same recorded frames, each in an environment of its own (the first time installs them: minutes).
peers: build
	@$(BIN)/python bench/peers/run.py $(ARGS)

# Fills of the simulated venue beside hftbacktest's, on the same orders and the same tape.
agreement: build
	@$(BIN)/python bench/venue/agreement.py $(ARGS)

picture: build
	@$(BIN)/python bench/picture.py bench/results -o docs/speed.svg

# The whole daemon over loopback: frame in to order out, beside a bare listener; a burst, beside NautilusTrader too where
# burst-peer has installed it.
round-trip: build
	@$(BIN)/python bench/live/round_trip.py $(ARGS)
burst: build
	@$(BIN)/python bench/live/burst.py $(ARGS)
burst-peer: build
	@$(BIN)/python bench/peers/environments.py nautilus

# The daemon with a thousand instruments.
scale: build
	@$(BIN)/python -m bench.scale $(ARGS)

# Each option of [process] alternately on and off; everything on for FOR seconds; memory over FRAMES; what measuring costs;
# what an operator waits for; recovery from a long journal.
tail: build
	@$(BIN)/python bench/tail.py $(ARGS)
soak: build
	@$(BIN)/python bench/soak.py $(if $(FOR),--for $(FOR)) $(ARGS)
memory: build
	@$(BIN)/python bench/memory.py $(if $(FRAMES),--frames $(FRAMES)) $(ARGS)
recovery: build
	@PYTHONPATH=. $(BIN)/python bench/recovery.py $(ARGS)
start: build
	@$(BIN)/python bench/start.py $(ARGS)
journal: build
	@$(BIN)/python bench/journal.py $(ARGS)
measuring: build
	@$(BIN)/python bench/measuring.py $(ARGS)

# A session under faults, FOR seconds of it, replayed REPLAYS times: as built, in the checked build, without FMA. One digest.
digests: build
	@$(BIN)/python bench/digests.py $(if $(FOR),--for $(FOR)) $(if $(REPLAYS),--replays $(REPLAYS)) $(ARGS)

# `cstd why` on a day's decisions: a process of its own each time, from the daemon and from its ledger.
why: build
	@$(BIN)/python bench/why.py $(ARGS)

# Honest frames beside hostile ones; and the fuzzers, with coverage of the compiled modules.
hostile: build $(VENV)/.test-installed
	@$(BIN)/python -m pytest bench/test_hostile.py $(ARGS)
fuzz: build
	@$(PIP) install --target build/fuzz-env --no-deps -r fuzz/requirements.txt && fuzz/build.sh

# Seeds of the simulation, going on from the tally of the last time; SEEDS of them. ARGS=--show prints the tally by version.
simulate: build $(VENV)/.test-installed
	@$(BIN)/python -m tests.simulation.campaign --tally $(or $(TALLY),build/simulation.json) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

# The gates: theorems over all inputs, the kernel beside their model for DECISIONS generated cases, and planted faults: a sample
# of them, or all, with what was found of each in REPORT.
prove: build $(VENV)/.test-installed
	@$(BIN)/python -m pytest -m proof tests/proof tests/mutation $(ARGS)
	@$(BIN)/python -m tests.proof.campaign $(if $(DECISIONS),--decisions $(DECISIONS))
mutants: build $(VENV)/.test-installed
	@$(BIN)/python -m tests.mutation --report $(or $(REPORT),build/mutants.json) $(ARGS)

# Real faults on this host, against a session of its own; KILLS of them by kill -9, going on from the tally of the last time.
chaos: build
	@$(BIN)/cstd chaos --tally $(or $(TALLY),build/chaos-kills.json) $(if $(KILLS),--kills $(KILLS)) $(ARGS)

# The compiled core with the address and undefined-behaviour sanitizers, in a copy of the tree, under the tests that reach
# into it most. Children that compile are started without the preloaded library: tests that need a strategy have it built by the
# ordinary tree's build (tests/strategies.py), and those of the compilers themselves, test_agents.py and test_strategies.py, stay
# out; so does test_memory.py, which counts the calls of malloc that a sanitizer answers itself. Only
# sys-level capture: what a sanitizer says on its way out must be seen.
SANITIZED := build/sanitized
sanitize: build $(VENV)/.test-installed
	@rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	@cp -r cstd tests fuzz config docs pyproject.toml setup.py $(SANITIZED)/
	@find $(SANITIZED)/cstd -name '*.so' -not -path '*/prebuilt/*' -delete
	@echo "building the compiled core with sanitizers" >&2
	@cd $(SANITIZED) && CSTD_DEBUG=1 $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace >&2
	@cd $(SANITIZED) && PYTHONPATH=$(CURDIR)/$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		$(CURDIR)/$(BIN)/python -m pytest --capture=sys --ignore=tests/kernels/test_agents.py --ignore=tests/kernels/test_strategies.py \
		--ignore=tests/scenario/test_memory.py \
		tests/kernels tests/scenario tests/storage $(ARGS)

# docs/controls.md, from the gates, the configuration and the tests that prove them.
controls: build $(VENV)/.test-installed
	@$(BIN)/python -m tests.controls

# The table of metrics, from the collector itself.
metrics: build
	@mkdir -p build; $(BIN)/python -m cstd.ops.metrics_table >build/metrics.md && mv build/metrics.md docs/metrics.md

check: build $(VENV)/.test-installed
	@$(BIN)/ruff check cstd tests bench fuzz setup.py
	@$(BIN)/cython-lint --no-pycodestyle cstd
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy

build: $(VENV)/.agents

# For a host without a compiler: docs/install.md.
wheel: build
	@$(PIP) wheel --no-deps --no-build-isolation -w dist . >&2
	@ls dist/*.whl

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..." >&2; exit 1; }
	@echo "setting up $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV) >&2

$(VENV)/.run-installed: requirements/run.txt | $(BIN)/python
	@echo "installing what cstd needs, by hash" >&2
	@$(PIP) install --require-hashes -r requirements/run.txt >&2
	@touch $@

# What training and scoring need; the trading process imports none of it.
$(VENV)/.train-installed: requirements/train.txt $(VENV)/.run-installed
	@echo "installing what models need, by hash" >&2
	@$(PIP) install --require-hashes -r requirements/train.txt >&2
	@touch $@

$(VENV)/.test-installed: requirements/test.txt $(VENV)/.train-installed
	@echo "installing what the tests need, by hash" >&2
	@$(PIP) install --require-hashes -r requirements/test.txt >&2
	@touch $@

# The package with its command. The extensions are built by the next step, in place and incrementally: pip would build
# all of them in a temporary folder, and again at each change.
$(VENV)/.installed: pyproject.toml $(VENV)/.run-installed
	@CSTD_ONLY=none $(PIP) install --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/.built: setup.py $(SOURCES) $(VENV)/.installed
	@echo "building the compiled core: the first time takes minutes" >&2
	@$(BIN)/python setup.py --quiet build_ext --inplace >&2
	@touch $@

# Agents are compiled ahead of time, because the trading process does not import numba.
$(VENV)/.agents: $(VENV)/.built $(AGENTS)
	@$(BIN)/cstd agents build >&2
	@touch $@

# Locks carry hashes and no addresses. The test lock comes first: ccxt pins several packages exactly.
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
lock: | $(BIN)/python
	@$(PIP) install uv >&2
	@$(UV_COMPILE) --extra test pyproject.toml requirements/build.in -o requirements/test.txt >&2
	@$(UV_COMPILE) -c requirements/test.txt pyproject.toml requirements/build.in -o requirements/run.txt >&2
	@$(UV_COMPILE) --extra train -c requirements/test.txt pyproject.toml requirements/build.in -o requirements/train.txt >&2

clean:
	@rm -rf build dist *.egg-info $(VENV)
	@find cstd -name '*.so' -delete
