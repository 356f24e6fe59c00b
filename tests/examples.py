"""The example data sets of bids_examples/, for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from dmri7t.cli.parser import build_parser
from dmri7t.cli.scans import make_query
from dmri7t.io.scan import Candidate
from dmri7t.io.source import Source, open_source

MAKE = Path(__file__).parents[1] / "bids_examples" / "make.py"

_spec = importlib.util.spec_from_file_location("bids_examples_make", MAKE)
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

SKELETONS = make.skeletons()

GOOD = [name for name, skeleton in SKELETONS.items() if skeleton["group"] == "good"]
BROKEN = [name for name, skeleton in SKELETONS.items() if skeleton["group"] == "broken"]
RUN = [name for name in GOOD if "run" not in SKELETONS[name]]
"""Those that tests/cli/test_app.py runs; the other layouts are run in tests/cli/test_layouts.py, or
only looked for."""


def candidates_of(skeleton: dict[str, Any], root: Path) -> tuple[Source, list[Candidate]]:
    """What the command finds in an example."""
    argv = [str(root), "out", "participant", *make.arguments(skeleton, root)]
    args = build_parser().parse_args(argv)
    source = open_source(root, args.input_type, dict(args.derivatives))
    labels = [source.kind.label(name) for name in args.participant_label] or [*source.folders]
    return source, source.find(make_query(args, labels))
