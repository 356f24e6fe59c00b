"""dmri7t-model compare: real scans beside simulations of their protocol."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.hints import add_verb
from dmri7t.cli.numbers import count, seed
from dmri7t.errors import InputError

if TYPE_CHECKING:
    from dmri7t.io.scan import Scan


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs,
        "compare",
        "put real scans beside simulations of their protocol",
        "dmri7t-model compare study --output compared",
    )
    verb.add_argument("bids_dir", type=Path, help="BIDS data set of 3T scans")
    verb.add_argument("--output", type=Path, required=True, help="folder for table and picture")
    verb.add_argument("--subjects", type=count, default=8, help="simulated brains a shell")
    verb.add_argument("--seed", type=seed, default=0, help="of the simulations")
    verb.add_argument("--threads", type=count, help="of torch; default: all")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare all scans of a data set; one that cannot be used does not stop the others."""
    import pandas as pd
    import torch

    from dmri7t.evaluation.reality.compare import compare_scan, summary
    from dmri7t.evaluation.reality.pictures import draw_comparisons
    from dmri7t.files import whole_file
    from dmri7t.simulation.subjects import REALITY

    if args.subjects < 2:
        raise InputError(f"--subjects {args.subjects}: too few to compare with; give 2 or more.")
    if args.threads:
        torch.set_num_threads(args.threads)
    seeds = REALITY.take(args.subjects, args.seed)
    comparisons = []
    for scan in _scans(args.bids_dir):
        try:
            for comparison in compare_scan(scan, seeds):
                print(summary(comparison) + "\n", flush=True)
                comparisons.append(comparison)
        except InputError as error:
            print(f"skipped: {error}", file=sys.stderr)
    if not comparisons:
        raise InputError(f"{args.bids_dir}: no scan could be compared; the reasons stand above.")
    table = pd.concat([comparison.table() for comparison in comparisons])
    with whole_file(args.output / "comparison.tsv") as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.5g", na_rep="n/a")
    draw_comparisons(comparisons, args.output)


def _scans(bids_dir: Path) -> list[Scan]:
    """Return the scans of all participants; say what is skipped, and why."""
    from dmri7t.io.search import Query
    from dmri7t.io.source import open_dataset

    source = open_dataset(bids_dir)
    candidates = source.find(Query(source.labels))
    for candidate in candidates:
        if not candidate.taken:
            print(f"skipped: {candidate.path}: {candidate.reason}", file=sys.stderr)
    return [candidate.scan for candidate in candidates if candidate.scan is not None]
