"""dmri7t-model evaluate: the paper's tables, on simulated subjects, on pairs, on single scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.hints import add_verb
from dmri7t.cli.numbers import above_zero, count, seed, whole
from dmri7t.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dmri7t.evaluation.measure import Shown
    from dmri7t.evaluation.methods import Method
    from dmri7t.models.translator import Translator

OTHER_HEADS = 500_000
"""Heads of the other tables come before this one of the range."""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "evaluate",
        "measure models beside plain interpolation",
        "dmri7t-model evaluate default --output tables",
        "dmri7t-model evaluate default my_model --pairs study --output tables",
        "dmri7t-model evaluate default --degrade study --output tables",
        "dmri7t-model evaluate default --effects --output tables",
        "dmri7t-model evaluate default --repeats study --output tables",
    )
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
    what.add_argument(
        "--effects",
        action="store_true",
        help="simulated groups, lesions, crossings, repeats: what is kept of known effects",
    )
    what.add_argument("--repeats", type=Path, help="BIDS: how alike two scans of one head come out")
    verb.add_argument("--seed", type=seed, default=0, help="of noise and draws")
    verb.add_argument("--sampler-sweep", action="store_true", help="compare steps and samples")
    verb.add_argument("--threads", type=count, help="of torch; default: all")
    group = verb.add_argument_group("simulated subjects (without --pairs and --degrade)")
    group.add_argument("--subjects", type=count, default=20, help="simulated heads")
    group.add_argument("--protocol", choices=["any", "hcp"], default="any", help="of their scans")
    group.add_argument("--size", type=count, default=48, help="edge of the blocks, 3T voxels")
    group.add_argument(
        "--record", action="store_true", help="write the metrics into the models' cards too"
    )
    group = verb.add_argument_group("pairs")
    group.add_argument("--folds", type=whole, default=0, metavar="K", help="by subject and family")
    group.add_argument("--shells", type=above_zero, nargs="+", default=[], help="default: all")
    group.add_argument("--participants", type=Path, help="table with Subject and Family_ID")
    group = verb.add_argument_group("degraded scans")
    group.add_argument(
        "--factors", type=above_zero, nargs="+", help="of k-space; default: 1.19 1.5"
    )
    group.add_argument("--noise-factor", type=above_zero, default=1.0, help="noise over its own")
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
    if args.effects or args.repeats:
        if args.record:
            raise InputError("--record: cards hold no effects and no repeats; leave it out.")
        _on_effects(args) if args.effects else _on_repeats(args)
        print((args.output / "table.md").read_text())
        return
    shown = Shown()
    if args.pairs:
        rows, notes = _on_pairs(args, shown)
    elif args.degrade:
        rows, notes = _on_degraded(args, shown)
    else:
        rows, notes = _on_simulated(args, shown)
    if rows.empty:
        alike = "the 3T and the 7T scan of a subject" if args.pairs else "both halves of a scan"
        among = " among those of --shells" if args.pairs and args.shells else ""
        raise InputError(
            f"{args.pairs or args.degrade}: nothing to compare: no shell{among} has in {alike} the "
            "directions that it takes; look at their b-values."
        )
    table = write_tables(rows, args.output, notes)
    draw(shown, args.output / "picture.png")
    if args.record and not (args.pairs or args.degrade):
        _record(args, table)
    print((args.output / "table.md").read_text())


def _on_effects(args: argparse.Namespace) -> None:
    """Measure what is kept of known effects, and write it."""
    from dmri7t.evaluation.effects import run_effects
    from dmri7t.evaluation.effects_tables import write_effects
    from dmri7t.simulation.subjects import HELD_OUT

    if args.subjects < 2:
        raise InputError(
            f"--subjects {args.subjects}: one head has no spread; give two or more to --effects."
        )
    # no head of the other tables
    seeds = HELD_OUT.take(args.subjects, OTHER_HEADS + args.seed)
    notes = [
        f"{args.subjects} simulated heads that no training saw: as they are, with FA of a bundle "
        "5 % lower and three lesions, and as they are again. Scans: 2 mm, 32 directions of "
        "b = 1000, 4 b0s, SNR 20. `kept` is the mean change over that without noise. What the "
        "columns mean, and how to read them, stands in the documentation (evaluation)."
    ]
    found = run_effects(seeds, _main_methods(args), args.seed)
    write_effects(found, args.output, notes)


def _on_repeats(args: argparse.Namespace) -> None:
    """Measure how alike two scans of one head come out, and write it."""
    from dmri7t.evaluation.repeats import run_repeats, write_repeats

    rows = run_repeats(args.repeats, _main_methods(args, args.repeats), args.seed)
    if rows.empty:
        raise InputError(
            f"{args.repeats}: no head was scanned twice alike; give series of one participant "
            "with the same grid, b-values and phase encoding, or use --effects."
        )
    notes = [
        f"{rows['pair'].nunique()} pairs of scans, each of one head. Geometric means of ratios, "
        "means of the rest. What moved between two series was undone by a rigid motion; what "
        "distortions differ by is left, in all rows alike. Less variance within pairs is a gain "
        "only where that between voxels is kept."
    ]
    write_repeats(rows, args.output, notes)


def _main_methods(args: argparse.Namespace, root: Path | None = None) -> list[Method]:
    """What laboratories have, the filter and the models, which know nobody of a data set."""
    from dmri7t.evaluation.methods import main_methods

    return main_methods(_translators(args, root))


def _translators(args: argparse.Namespace, root: Path | None) -> list[Translator]:
    """Load the models that were named; refuse those that know somebody of a data set."""
    from dmri7t.evaluation.folds import refuse_known
    from dmri7t.io.source import open_dataset
    from dmri7t.models.bundle import resolve_model
    from dmri7t.models.translator import Translator

    translators = [Translator.load(resolve_model(name)) for name in args.models]
    if root is not None:
        labels = open_dataset(root).labels
        for translator in translators:
            refuse_known(translator, labels, root)
    return translators


def _methods(args: argparse.Namespace, root: Path | None = None) -> list[Method]:
    """All rows of the models that were named, which know nobody of a data set; no recipes."""
    from dmri7t.evaluation.methods import all_methods

    return all_methods(_translators(args, root), _simulated_linear(), args.sampler_sweep)


def _simulated_linear() -> torch.Tensor:
    """Linear scaling fitted on simulated subjects that are neither for training nor for tests."""
    from dmri7t.evaluation.methods import fit_linear
    from dmri7t.evaluation.simulated import simulated_cases
    from dmri7t.progress import track
    from dmri7t.simulation.subjects import LINEAR_FIT

    seeds = LINEAR_FIT.take(12)
    return fit_linear(track(simulated_cases(seeds, "any", 32), "evaluate: linear", len(seeds)))


def _on_simulated(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.published import published_tables
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
    notes = [note, published_tables()] if args.protocol == "hcp" else [note]
    return run_methods(cases, methods, args.seed, shown, len(seeds)), notes


def _on_degraded(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    from dmri7t.evaluation.degraded import CROPS, Degradation, degraded_cases
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.io.source import open_dataset

    methods, source = _methods(args, args.degrade), open_dataset(args.degrade)
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
    expected = len(degradations) * sum(len(source.scans(label)) for label in source.labels)
    return run_methods(cases, methods, args.seed, shown, expected), notes


def _on_pairs(args: argparse.Namespace, shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    from dmri7t.evaluation.folds import CrossValidation
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.methods import all_methods, fit_linear
    from dmri7t.evaluation.paired import paired_cases, paired_labels
    from dmri7t.io.families import read_families
    from dmri7t.io.source import open_dataset
    from dmri7t.progress import track

    source = open_dataset(args.pairs)
    families = read_families(args.participants) if args.participants else None
    labels, shells = paired_labels(source), tuple(args.shells)
    folds = CrossValidation(args.pairs, args.output, args.folds, args.seed, families, shells)
    parts = []
    for split in folds.split(labels):
        translators = [folds.model(name, split) for name in args.models]
        fitted_on = [*split.training, *split.validation]
        pairs = paired_cases(source, fitted_on, shells)
        tracked = track(pairs, "evaluate: linear", len(fitted_on) * max(len(shells), 1), "pair")
        linear = fit_linear(tracked) if fitted_on else _simulated_linear()
        methods = all_methods(translators, linear, args.sampler_sweep)
        cases = paired_cases(source, split.test, shells)
        expected = len(split.test) * max(len(shells), 1)
        parts.append(run_methods(cases, methods, args.seed, shown, expected))
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
