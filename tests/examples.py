"""The example data sets of bids_examples/, for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

MAKE = Path(__file__).parents[1] / "bids_examples" / "make.py"

_spec = importlib.util.spec_from_file_location("bids_examples_make", MAKE)
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

SKELETONS = make.skeletons()
GOOD = [name for name, skeleton in SKELETONS.items() if skeleton["group"] == "good"]
BROKEN = [name for name, skeleton in SKELETONS.items() if skeleton["group"] == "broken"]
