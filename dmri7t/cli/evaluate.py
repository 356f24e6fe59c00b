"""dmri7t-model evaluate: the paper's tables, on simulated subjects, on pairs, on single scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmri7t.errors import InputError, ModelError


def add_parser(verbs: Any) -> None:
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


def _models(args: argparse.Namespace) -> list[Any]:
    """Load every model; a recipe is none here."""
    from dmri7t.models.bundle import resolve_model
    from dmri7t.models.translator import Translator

    return [Translator.load(resolve_model(name)) for name in args.models]


def _methods(args: argparse.Namespace, translators: list[Any], linear: Any) -> list[Any]:
    from dmri7t.evaluation.methods import model_methods, plain_methods

    rows = plain_methods(linear)
    for translator in translators:
        rows += model_methods(translator, args.sampler_sweep)
    names = [row.name for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelError(f"two models give the row {twice[0]}; give each a name of its own.")
    return rows


def _simulated_linear() -> Any:
    """Linear scaling fitted on simulated subjects that are neither for training nor for tests."""
    from dmri7t.evaluation.methods import fit_linear
    from dmri7t.evaluation.simulated import simulated_cases
    from dmri7t.simulation.subjects import LINEAR_FIT

    return fit_linear(simulated_cases(LINEAR_FIT.take(12), "any", 32))


def _on_simulated(args: argparse.Namespace, shown: Any) -> tuple[Any, list[str]]:
    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.simulated import simulated_cases
    from dmri7t.simulation.subjects import HELD_OUT

    seeds = HELD_OUT.take(args.subjects, args.seed)
    methods = _methods(args, _models(args), _simulated_linear())
    cases = simulated_cases(seeds, args.protocol, args.size)
    scanner = "a 7T scan" if args.protocol == "hcp" else "the same scan on finer voxels"
    note = (
        f"{args.subjects} simulated subjects that no training saw (protocol {args.protocol}), "
        f"against {scanner}, without noise. `linear` was fitted on 12 others."
    )
    return run_methods(cases, methods, args.seed, shown), [note]


def _on_degraded(args: argparse.Namespace, shown: Any) -> tuple[Any, list[str]]:
    from dmri7t.evaluation.degraded import FACTORS, degraded_cases
    from dmri7t.evaluation.measure import run_methods

    methods = _methods(args, _models(args), _simulated_linear())
    cases = degraded_cases(
        args.degrade, args.factors or FACTORS, args.noise_factor, args.seed, args.truth
    )
    notes = [
        "Real scans: half of the directions of a shell, its k-space cropped, restored to the "
        "scan's own grid and compared with the other half. The reference has noise of its own, "
        "which no method can reach; below 15 directions a half shows no order 4, and R4 is left "
        "out. A scan with one b0 shares it between both halves, noise and all.",
        "`linear` was fitted on simulated subjects; no real scan takes part in any choice.",
    ]
    return run_methods(cases, methods, args.seed, shown), notes


def _on_pairs(args: argparse.Namespace, shown: Any) -> tuple[Any, list[str]]:
    import pandas as pd

    from dmri7t.evaluation.measure import run_methods
    from dmri7t.evaluation.methods import fit_linear
    from dmri7t.evaluation.paired import paired_cases, paired_labels, plan_folds, refuse_known
    from dmri7t.io.families import read_families
    from dmri7t.io.source import open_dataset

    source = open_dataset(args.pairs)
    families = read_families(args.participants) if args.participants else None
    labels = paired_labels(source)
    splits = plan_folds(labels, args.folds, args.seed, families, args.output / "splits.json")
    parts = []
    for split in splits:
        translators = [_model_of_fold(args, name, split["fold"], families) for name in args.models]
        for translator in translators:
            own = translator.config.training.split
            if own is None or own.fold != split["fold"]:
                refuse_known(translator, split["test"], args.pairs)
        learned = [*split["training"], *split["validation"]]
        fitted = paired_cases(source, learned, args.shells)
        linear = fit_linear(fitted) if learned else _simulated_linear()
        cases = paired_cases(source, split["test"], args.shells)
        rows = run_methods(cases, _methods(args, translators, linear), args.seed, shown)
        parts.append(rows)
    where = "their folds' training subjects" if args.folds > 1 else "simulated subjects"
    notes = [
        f"{len(labels)} subjects of {args.pairs.resolve().name}, against the 7T scan's own "
        f"debiased RISH; `linear` was fitted on {where}. Who was tested in which fold: "
        "splits.json."
    ]
    return pd.concat(parts, ignore_index=True), notes


def _model_of_fold(
    args: argparse.Namespace, name: str, fold: str, families: dict[str, str] | None
) -> Any:
    """A model as it is, or a recipe's model for one fold."""
    from dmri7t.evaluation.paired import train_fold
    from dmri7t.models.bundle import resolve_model
    from dmri7t.models.translator import Translator
    from dmri7t.training.pairs import Cutting
    from dmri7t.training.recipe import read_recipe

    if not name.endswith(".toml"):
        return Translator.load(resolve_model(name))
    if not fold:
        raise InputError(f"{name}: a recipe is trained for each fold; add --folds K.")
    recipe = read_recipe(name)
    data = recipe.data
    how = Cutting(tuple(args.shells), data.patch, data.patches, args.seed)
    out = args.output / "models" / f"fold-{fold.split('/')[0]}" / recipe.config.name
    return train_fold(recipe, args.pairs, out, fold, how, families)


def _record(args: argparse.Namespace, table: Any) -> None:
    """Write the metrics into the cards of the models that were measured."""
    from dmri7t.evaluation.record import record_metrics
    from dmri7t.models.bundle import resolve_model

    asked = f"--subjects {args.subjects} --seed {args.seed} --protocol {args.protocol}"
    command = f"dmri7t-model evaluate {' '.join(Path(m).name for m in args.models)} {asked}"
    for name in args.models:
        record_metrics(resolve_model(name), table, f"{command} --output DIR")
