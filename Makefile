# Every target sets itself up: a .venv with the versions in constraints.txt, and in it what the
# target needs; the demo needs no more than a user does.
PYTHON ?= python3
BIN := .venv/bin
# threads that wait give up their processor soon, as the commands themselves have it
export GOMP_SPINCOUNT ?= 1000

.PHONY: demo test trials docs bench clean

demo: .venv/installed
	@echo "Making a small 3T scan in demo/bids (a few seconds) ..."
	$(BIN)/python bids_examples/make.py demo demo/bids
	@echo "Making it 7T-like ..."
	$(BIN)/dmri7t demo/bids demo/out participant -w demo/work
	@echo "Open in a browser: $$(ls $(CURDIR)/demo/out/sub-*.html)"

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

# real commands on inputs, in surroundings and with faults of all kinds: an hour and a quarter
trials: .venv/ready
	cd tests && PYTHONPATH=..:../workflows $(CURDIR)/$(BIN)/python -m trials $(CASES)

docs: .venv/ready
	@echo "Running the tutorials and building the pages (a minute or two the first time) ..."
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build
	@echo "Open in a browser: $(CURDIR)/docs/_build/index.html"

bench: .venv/ready
	$(BIN)/python tests/benchmarks/run.py

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing dmri7t and what it needs into .venv, once (PyTorch is large: minutes) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/ready: .venv/installed
	@echo "Installing what tests and documentation need besides ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,docs]'
	@touch $@

clean:
	rm -rf .venv demo docs/_build docs/gallery
