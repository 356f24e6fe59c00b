"""dmri7t-model simulate: whole heads at both fields."""

from __future__ import annotations

import argparse
from pathlib import Path

from dmri7t.cli.hints import add_verb
from dmri7t.cli.numbers import above_zero, count, seed


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs,
        "simulate",
        "write a data set of simulated 3T/7T pairs",
        "dmri7t-model simulate pairs --subjects 4",
        "dmri7t-model simulate scan --fields 3 --voxel-size 2 --shells 1000 2000 --directions 32",
    )
    verb.add_argument("out_dir", type=Path, help="the data set that is written")
    verb.add_argument("--subjects", type=count, default=1, metavar="N", help="simulated heads")
    verb.add_argument("--seed", type=seed, default=0, metavar="S", help="of the first head")
    verb.add_argument(
        "--layout",
        choices=["bids", "hcp"],
        default="bids",
        help="BIDS, or folders as the Human Connectome Project lays them out",
    )
    verb.add_argument("--fields", type=int, nargs="+", choices=[3, 7], default=[3, 7], help="tesla")
    verb.add_argument("--voxel-size", type=above_zero, default=1.25, help="of the 3T scan, mm")
    verb.add_argument("--voxel-size-7t", type=above_zero, default=1.05, help="of the 7T scan, mm")
    verb.add_argument(
        "--shells", type=above_zero, nargs="+", default=[1000.0], help="b-values, s/mm2"
    )
    verb.add_argument("--directions", type=count, default=64, help="directions a shell")
    verb.add_argument("--b0s", type=count, default=6, help="b0 volumes")
    verb.add_argument("--snr", type=above_zero, default=20.0, help="of the 3T b0 in white matter")
    verb.add_argument(
        "--snr-7t", type=above_zero, default=22.0, help="of the 7T b0 in white matter"
    )
    verb.add_argument("--head-scale", type=above_zero, default=1.0, help="below 1: a smaller head")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write simulated pairs."""
    from dmri7t.simulation.dataset import Layout, simulate_dataset

    layout = Layout(
        voxel_size=args.voxel_size,
        voxel_size_7t=args.voxel_size_7t,
        shells=tuple(args.shells),
        n_directions=args.directions,
        n_b0=args.b0s,
        snr=args.snr,
        snr_7t=args.snr_7t,
        scale=args.head_scale,
        fields=tuple(sorted(set(args.fields))),
        folders=args.layout,
    )
    simulate_dataset(args.out_dir, args.subjects, args.seed, layout)
