"""dmri7t-model: simulate pairs, train, evaluate, and describe models."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from dmri7t import __version__
from dmri7t.cli import calibrate, compare, evaluate, simulate, train
from dmri7t.cli.help import add_completion, examples
from dmri7t.cli.hints import HintingParser, add_verb
from dmri7t.cli.messages import complain, flush
from dmri7t.cli.surroundings import (
    check_folder,
    check_paths,
    prepare_process,
    restart_if_needed,
)
from dmri7t.errors import Dmri7tError
from dmri7t.execution.reasons import reason_of


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = HintingParser(
        "dmri7t-model",
        description="Simulate pairs, train, evaluate, and describe models.",
        epilog=examples(
            "dmri7t-model info default                   # what the shipped model is",
            "dmri7t-model simulate pairs --subjects 4",
            "dmri7t-model train default my_model --pairs pairs --pool pool",
            "dmri7t-model train --help                   # every verb has a help of its own",
        ),
    )
    parser.add_argument("--version", action="version", version=f"dmri7t {__version__}")
    add_completion(parser)
    verbs = parser.add_subparsers(dest="verb", required=True)

    simulate.add_parser(verbs)
    train.add_parser(verbs)
    calibrate.add_parser(verbs)
    evaluate.add_parser(verbs)
    compare.add_parser(verbs)

    verb = add_verb(
        verbs,
        "info",
        "describe a model and check its files",
        "dmri7t-model info default",
        "dmri7t-model info my_model --json",
    )
    verb.add_argument("model", help="a model's folder, or the name of one that ships")
    verb.add_argument("--json", action="store_true", help="the whole description as JSON")
    verb.set_defaults(run=info)
    return parser


def info(args: argparse.Namespace) -> None:
    """Print what a model is, after holding its files against their checksums."""
    from dmri7t.models.bundle import check_bundle, model_checksum, resolve_model

    folder = resolve_model(args.model)
    config = check_bundle(folder)
    if args.json:
        print(json.dumps({**config.to_dict(), "sha256": model_checksum(folder)}, indent=2))
        return
    print(f"folder   {folder}\nsha256   {model_checksum(folder)}\n")
    print((folder / "README.md").read_text())


WRITTEN = ("out_dir", "out_model", "output", "pool")
"""Arguments of verbs that name a folder which is written into."""


def main(argv: list[str] | None = None) -> None:
    """Run the command; errors of the user's making are one line and exit code 2."""
    prepare_process()
    if argv is None:
        restart_if_needed()
    args = build_parser().parse_args(argv)
    verbose = os.environ.get("DMRI7T_DEBUG")
    code = 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # while it was loaded, it ended at once
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check_paths(value for value in vars(args).values() if isinstance(value, Path))
        for name in WRITTEN:
            check_folder(getattr(args, name, None))
        args.run(args)
    except Dmri7tError as error:
        complain(str(error), "dmri7t-model")
        code = 2
    except KeyboardInterrupt:
        complain("interrupted.", "dmri7t-model")
        code = 130
    except BrokenPipeError:
        code = 0
    except Exception as error:
        if verbose:
            raise
        complain(f"{reason_of(error)} (details with DMRI7T_DEBUG=1)", "dmri7t-model")
        code = 1
    flush()
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
