"""dmri7t-model evaluate: the paper's tables, on simulated subjects, on pairs, on single scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dmri7t.evaluation.measure import Shown
    from dmri7t.evaluation.methods import Method


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    verb = verbs.add_parser("evaluate", help="measure models beside plain interpolation")
    verb.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="models, or with --pairs and --folds recipes, each trained for every fold",
    )
    verb.add_argument("--output", type=Path, required=True, help="folder for tables and picture")
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--pairs", type=Path, help="BIDS with ses-3T and ses-7T, or HCP's folders")
    what.add_argument(
        "--degrade", type=Path, help="BIDS: half of each scan, degraded, against the other half"
    )
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--sampler-sweep", action="store_true", help="compare steps and samples")
    verb.add_argument("--threads", type=int, help="of torch; default: all")
    group = verb.add_argument_group("simulated subjects (without --pairs and --degrade)")
    group.add_argument("--subjects", type=int, default=20)
    group.add_argument("--protocol", choices=["any", "hcp"], default="any")
    group.add_argument("--size", type=int, default=48, help="edge of the blocks, 3T voxels")
    group.add_argument(
        "--record", action="store_true", help="write the metrics into the models' cards too"
    )
    group = verb.add_argument_group("pairs")
    group.add_argument("--folds", type=int, default=0, metavar="K", help="by subject and family")
    group.add_argument("--shells", type=float, nargs="+", default=[], help="default: all")
    group.add_argument("--participants", type=Path, help="table with Subject and Family_ID")
    group = verb.add_argument_group("degraded scans")
    group.add_argument("--factors", type=float, nargs="+", help="of k-space; default: 1.19 1.5")
    group.add_argument("--noise-factor", type=float, default=1.0, help="noise over its own")
    group.add_argument(
        "--truth",
        type=Path,
        metavar="BIDS",
        help="the same simulated heads without noise: what would a perfect answer score?",
    )
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, write, print."""
    import torch

    from dmri7t.evaluation.measure import Shown
    from dmri7t.evaluation.pictures import draw
    from dmri7t.evaluation.tables import write_tables

    if args.truth and not args.degrade:
        raise InputError("--truth: says what a perfect answer scores in --degrade; give both.")
    if args.threads:
        torch.set_num_threads(args.threads)
    shown = Shown()
    if args.pairs:
        rows, notes = _on_pairs(args, shown)
    elif args.degrade:
        rows, notes = _on_degraded(args, shown)
    else:
        rows, notes = _on_simulated(args, shown)
    if rows.empty:
        raise InputError(f"{args.pairs or args.degrade}: no shell could be compared; see above.")
    table = write_tables(rows, args.output, notes)
    draw(shown, args.output / "picture.png")
    if args.record and not (args.pairs or args.degrade):
        _record(args, table)
    print((args.output / "table.md").read_text())


def _methods(args: argparse.Namespace) -> list[Method]:
    """All rows of the models that were named; a recipe is none here."""
    from dmri7t.evaluation.methods import all_methods
    from dmri7t.models.bundle import resolve_model
    from dmri7t.models.translator import Translator

    translators = [Translator.load(resolve_model(name)) for name in args.models]
    return all_methods(translators, _simulated_linear(), args.sampler_sweep)


def _simulated_linear() -> torch.Tensor:
    """Linear scaling fitted on simulated subjects that are neither for training nor for tests."""
    from dmri7t.evaluation.methods import fit_linear
    from dmri7t.evaluation.simulated import simulated_cases
    from dmri7t.simulation.subjects import LINEAR_FIT

    return fit_linear(simulated_cases(LINEAR_FIT.take(12), "any", 32))


def _on_simulated(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.simulated import simulated_cases
    from dmri7t.simulation.subjects import HELD_OUT

    seeds = HELD_OUT.take(args.subjects, args.seed)
    methods = _methods(args)
    cases = simulated_cases(seeds, args.protocol, args.size)
    scanner = "a 7T scan" if args.protocol == "hcp" else "the same scan on finer voxels"
    note = (
        f"{args.subjects} simulated subjects that no training saw (protocol {args.protocol}), "
        f"against {scanner}, without noise. `linear` was fitted on 12 others."
    )
    return run_methods(cases, methods, args.seed, shown), [note]


def _on_degraded(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    from dmri7t.evaluation.degraded import CROPS, Degradation, degraded_cases
    from dmri7t.evaluation.measure import run_methods

    methods = _methods(args)
    degradations = [
        Degradation(crop, args.noise_factor, args.seed) for crop in args.factors or CROPS
    ]
    cases = degraded_cases(args.degrade, degradations, args.truth)
    notes = [
        "Real scans: half of the directions of a shell, its k-space cropped, restored to the "
        "scan's own grid and compared with the other half. The reference has noise of its own, "
        "which no method can reach; below 15 directions a half shows no order 4, and R4 is left "
        "out. A scan with one b0 shares it between both halves, noise and all.",
        "`linear` was fitted on simulated subjects; no real scan takes part in any choice.",
    ]
    return run_methods(cases, methods, args.seed, shown), notes


def _on_pairs(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    from dmri7t.evaluation.folds import CrossValidation
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.methods import all_methods, fit_linear
    from dmri7t.evaluation.paired import paired_cases, paired_labels
    from dmri7t.io.families import read_families
    from dmri7t.io.source import open_dataset

    source = open_dataset(args.pairs)
    families = read_families(args.participants) if args.participants else None
    labels, shells = paired_labels(source), tuple(args.shells)
    folds = CrossValidation(args.pairs, args.output, args.folds, args.seed, families, shells)
    parts = []
    for split in folds.split(labels):
        translators = [folds.model(name, split) for name in args.models]
        fitted_on = [*split.training, *split.validation]
        pairs = paired_cases(source, fitted_on, shells)
        linear = fit_linear(pairs) if fitted_on else _simulated_linear()
        methods = all_methods(translators, linear, args.sampler_sweep)
        cases = paired_cases(source, split.test, shells)
        parts.append(run_methods(cases, methods, args.seed, shown))
    others = "their folds' training subjects" if args.folds > 1 else "simulated subjects"
    notes = [
        f"{len(labels)} subjects of {args.pairs.resolve().name}, against the 7T scan's own "
        f"debiased RISH; `linear` was fitted on {others}. Who was tested in which fold: "
        "splits.json."
    ]
    return pd.concat(parts, ignore_index=True), notes


def _record(args: argparse.Namespace, table: pd.DataFrame) -> None:
    """Write the metrics into the cards of the models that were measured."""
    from dmri7t.evaluation.record import record_metrics
    from dmri7t.models.bundle import resolve_model

    asked = f"--subjects {args.subjects} --seed {args.seed} --protocol {args.protocol}"
    command = f"dmri7t-model evaluate {' '.join(Path(m).name for m in args.models)} {asked}"
    for name in args.models:
        record_metrics(resolve_model(name), table, f"{command} --output DIR")
