"""dmri7t-model: simulate pairs, train, evaluate, and describe models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dmri7t import __version__
from dmri7t.cli import calibrate, compare, simulate, train
from dmri7t.errors import Dmri7tError


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser("dmri7t-model", description=__doc__)
    parser.add_argument("--version", action="version", version=f"dmri7t {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)

    simulate.add_parser(verbs)
    train.add_parser(verbs)
    calibrate.add_parser(verbs)
    compare.add_parser(verbs)

    verb = verbs.add_parser("evaluate", help="measure a model on simulated test subjects")
    verb.add_argument("model")
    verb.add_argument("--output", type=Path, required=True, help="folder for the tables")
    verb.add_argument("--subjects", type=int, default=20)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--protocol", choices=["any", "hcp"], default="any")
    verb.add_argument("--size", type=int, default=48, help="edge of the blocks, 3T voxels")
    verb.add_argument("--sampler-steps", type=int)
    verb.add_argument("--samples", type=int)
    verb.add_argument("--threads", type=int, help="of torch; default: all")
    verb.add_argument(
        "--record", action="store_true", help="write the figures into the model's card too"
    )
    verb.set_defaults(run=evaluate)

    verb = verbs.add_parser("info", help="describe a model and check its files")
    verb.add_argument("model", help="a model's folder, or the name of one that ships")
    verb.add_argument("--json", action="store_true", help="the whole description as JSON")
    verb.set_defaults(run=info)
    return parser


def evaluate(args: argparse.Namespace) -> None:
    """Measure a model on simulated test subjects beside interpolation."""
    import torch

    from dmri7t.evaluation.record import record_figures
    from dmri7t.evaluation.simulated import evaluate as measure
    from dmri7t.evaluation.simulated import summarize
    from dmri7t.models.bundle import resolve_model
    from dmri7t.models.translator import Translator

    if args.threads:
        torch.set_num_threads(args.threads)
    folder = resolve_model(args.model)
    translator = Translator.load(folder)
    subjects = measure(
        translator,
        args.subjects,
        args.seed,
        args.protocol,
        args.size,
        args.sampler_steps,
        args.samples,
    )
    args.output.mkdir(parents=True, exist_ok=True)
    table = summarize(subjects)
    for name, frame in (("subjects", subjects), ("table", table)):
        frame.to_csv(args.output / f"{name}.tsv", sep="\t", index=False, float_format="%.5f")
    if args.record:
        protocol = f"--subjects {args.subjects} --seed {args.seed} --protocol {args.protocol}"
        command = f"dmri7t-model evaluate {translator.config['name']} {protocol} --output DIR"
        record_figures(folder, table, command)
    pairs = zip(table["mean"], table["sd"], strict=True)
    wide = table.assign(text=[f"{mean:.4f} ± {sd:.4f}" for mean, sd in pairs])
    print(wide.pivot(index=["metric", "method"], columns="map", values="text").to_string())


def info(args: argparse.Namespace) -> None:
    """Print what a model is, after holding its files against their checksums."""
    from dmri7t.models.bundle import check_bundle, model_checksum, resolve_model

    folder = resolve_model(args.model)
    config = check_bundle(folder)
    if args.json:
        print(json.dumps({**config, "sha256": model_checksum(folder)}, indent=2))
        return
    print(f"folder   {folder}\nsha256   {model_checksum(folder)}\n")
    print((folder / "README.md").read_text())


def main(argv: list[str] | None = None) -> None:
    """Run the command; errors of the user's making are one line and exit code 2."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except Dmri7tError as error:
        print(f"dmri7t-model: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
