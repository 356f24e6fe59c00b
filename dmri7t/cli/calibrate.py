"""dmri7t-model calibrate: fit shares, uncertainty and alarms to a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.hints import add_verb
from dmri7t.cli.numbers import count, whole

if TYPE_CHECKING:
    import pandas as pd


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "calibrate",
        "fit a model's shares, uncertainty and alarms on simulated subjects, check on others",
        "dmri7t-model calibrate my_model --output checked",
    )
    verb.add_argument("model", help="a model's folder; its description is rewritten")
    verb.add_argument(
        "--share-subjects",
        type=whole,
        default=24,
        help="to fit on how much of the samples and of the super-resolution goes into each order;"
        " 0: leave that out",
    )
    verb.add_argument(
        "--subjects", type=whole, default=40, help="to fit the uncertainty on; 0: leave that out"
    )
    verb.add_argument("--check-subjects", type=count, default=40, help="other ones, to check on")
    verb.add_argument(
        "--novelty-subjects",
        type=whole,
        default=400,
        help="to learn from what training data look like; 0: leave that out",
    )
    verb.add_argument("--size", type=count, default=32, help="edge of the blocks, 3T voxels")
    verb.add_argument("--output", type=Path, help="folder for coverage.tsv and coverage.png")
    verb.add_argument("--threads", type=count, help="of torch; default: all")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fit, check, write into the model."""
    import attrs
    import torch

    from dmri7t.calibration.novelty import NoveltySubjects, fit_novelty
    from dmri7t.calibration.shares import fit_shares
    from dmri7t.calibration.uncertainty import calibrate
    from dmri7t.models.bundle import resolve_model, write_bundle
    from dmri7t.models.translator import Translator
    from dmri7t.simulation.subjects import INTERVAL_CHECK, INTERVAL_FIT, SHARES, TRAINING

    # too many are refused before hours of work
    share_seeds = SHARES.take(args.share_subjects)
    seeds, check_seeds = INTERVAL_FIT.take(args.subjects), INTERVAL_CHECK.take(args.check_subjects)
    novelty_subjects = NoveltySubjects(training=TRAINING.take(args.novelty_subjects))
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = resolve_model(args.model)
    translator = Translator.load(folder)
    config = translator.config
    if share_seeds and config.form == "residual":
        shares = fit_shares(translator, share_seeds)
        translator = translator.evolve(shares=shares)
        config = attrs.evolve(config, shares=shares)
    if seeds:
        calibration, table = calibrate(translator, seeds, check_seeds, args.size)
        config = attrs.evolve(config, calibration=calibration)
        _show_coverage(table, args.output)
    if novelty_subjects.training:
        novelty = fit_novelty(translator, folder, novelty_subjects)
        config = attrs.evolve(config, novelty=novelty)
    write_bundle(folder, config)
    print(f"written into {folder / 'config.json'}")


def _show_coverage(table: pd.DataFrame, folder: Path | None) -> None:
    """Print how many voxels the intervals held; write table and picture where a folder is given."""
    from dmri7t.calibration.uncertainty import plot_coverage
    from dmri7t.files import whole_file

    if folder:
        with whole_file(folder / "coverage.tsv") as part:
            table.to_csv(part, sep="\t", index=False, float_format="%.4f")
        with whole_file(folder / "coverage.png") as part:
            plot_coverage(table, part)
    wide = table.pivot(index="nominal", columns="map", values="observed")
    print(wide.to_string(float_format="{:.3f}".format))
