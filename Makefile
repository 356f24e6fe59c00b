# Every target sets itself up: a .venv with the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs bench clean

demo: .venv/ready
	$(BIN)/python bids_examples/make.py demo demo/bids
	$(BIN)/dmri7t demo/bids demo/out participant -w demo/work
	@echo "Open in a browser: $$(ls $(CURDIR)/demo/out/sub-*.html)"

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

docs: .venv/ready
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build
	@echo "Open in a browser: $(CURDIR)/docs/_build/index.html"

bench: .venv/ready
	$(BIN)/python tests/benchmarks/run.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test,docs]'
	@touch $@

clean:
	rm -rf .venv demo docs/_build
