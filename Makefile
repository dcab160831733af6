# Everything happens in .venv; nothing global is touched. `make demo` and `make test` are the two to know.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
RUNS   ?= runs
BUILD  ?= build

.PHONY: demo test test-fast lint check-tools clean

check-tools:
	@for pair in g++:g++ make:make perl:perl git:git; do \
	  command -v $${pair%%:*} >/dev/null || { echo "$${pair%%:*} is missing: install it with 'apt-get install $${pair##*:}'"; exit 2; }; \
	done
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) must be Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it with 'apt-get install python3-venv'"; exit 2; }

$(STAMP): requirements/ci.txt pyproject.toml | check-tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/ci.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: check-tools $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/hwbnn demo --runs $(RUNS) --build $(BUILD)

test: check-tools $(STAMP) lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: check-tools $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist worksteal -m "not (cocotb or formal or synth or slow or cuda)"

lint: $(STAMP)
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) $(RUNS) $(BUILD)
