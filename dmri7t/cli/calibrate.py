"""dmri7t-model calibrate: what a model knows of its errors, and of scans it does not know."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "calibrate",
        help="fit a model's shares, uncertainty and alarms on simulated subjects, check on others",
    )
    verb.add_argument("model", help="a model's folder; its description is rewritten")
    verb.add_argument(
        "--share-subjects",
        type=int,
        default=24,
        help="to fit on how much of the samples and of the super-resolution goes into each order;"
        " 0: leave that out",
    )
    verb.add_argument(
        "--subjects", type=int, default=40, help="to fit the uncertainty on; 0: leave that out"
    )
    verb.add_argument("--check-subjects", type=int, default=40, help="other ones, to check on")
    verb.add_argument(
        "--novelty-subjects",
        type=int,
        default=400,
        help="to learn from what training data look like; 0: leave that out",
    )
    verb.add_argument("--size", type=int, default=32, help="edge of the blocks, 3T voxels")
    verb.add_argument("--output", type=Path, help="folder for coverage.tsv and coverage.png")
    verb.add_argument("--threads", type=int, help="of torch; default: all")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fit, check, write into the model."""
    import attrs
    import torch

    from dmri7t.calibration.novelty import fit_novelty
    from dmri7t.calibration.shares import fit_shares
    from dmri7t.models.bundle import resolve_model, write_bundle
    from dmri7t.models.translator import Translator

    if args.threads:
        torch.set_num_threads(args.threads)
    folder = resolve_model(args.model)
    translator = Translator.load(folder)
    config = translator.config
    if args.share_subjects and config.form == "residual":
        shares = fit_shares(translator, args.share_subjects)
        translator = translator.evolve(shares=shares)
        config = attrs.evolve(config, shares=shares)
    if args.subjects:
        config = attrs.evolve(config, calibration=_fit_uncertainty(args, translator))
    if args.novelty_subjects:
        novelty = fit_novelty(translator, folder, args.novelty_subjects)
        config = attrs.evolve(config, novelty=novelty)
    write_bundle(folder, config)
    print(f"written into {folder / 'config.json'}")


def _fit_uncertainty(args: argparse.Namespace, translator: Any) -> Any:
    """Fit on some subjects, show the coverage on others."""
    from dmri7t.calibration.uncertainty import calibrate, plot_coverage

    fitted, table = calibrate(translator, args.subjects, args.check_subjects, args.size)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.output / "coverage.tsv", sep="\t", index=False, float_format="%.4f")
        plot_coverage(table, args.output / "coverage.png")
    wide = table.pivot(index="nominal", columns="map", values="observed")
    print(wide.to_string(float_format="{:.3f}".format))
    return fitted
