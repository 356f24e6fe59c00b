"""Arguments of the BIDS App."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import attrs

from dmri7t import __version__
from dmri7t.cli.help import add_completion, examples
from dmri7t.cli.hints import HintingParser, Labels, split_labels
from dmri7t.cli.numbers import above_zero, count, fraction, seed
from dmri7t.cli.resources import CLUSTER_THREADS
from dmri7t.io.kinds.registry import describe_input_types, input_types, programs
from dmri7t.io.volumes import FIELD, read_volumes
from dmri7t.settings import (
    CONSISTENCY,
    DEVICES,
    ESTIMATES,
    LAYOUTS,
    PRECISIONS,
    UPSAMPLING,
    WEIGHED_BY,
    Settings,
)

_DEFAULTS = {field.name: field.default for field in attrs.fields(Settings)}
"""An option of the name of a setting has its default too."""


def _labels(prefix: str) -> Callable[[str], list[str]]:
    """Take BIDS labels with or without their prefix, joined by commas."""

    def convert(text: str) -> list[str]:
        return split_labels(text, prefix)

    return convert


def _derivative(text: str) -> tuple[str, Path]:
    """Read NAME=PATH."""
    name, equals, path = text.partition("=")
    if name.lower() not in programs() or not equals or not path:
        expected = " or ".join(f"{name}=PATH" for name in programs())
        raise argparse.ArgumentTypeError(f"{text!r}: give {expected}")
    return name.lower(), Path(path)


def _volumes(text: str) -> list[int]:
    """Read numbers of volumes."""
    try:
        return read_volumes(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give volumes counted from 0, such as 12, 64-66 or last"
        ) from None


def _resolution(text: str) -> str | tuple[float, ...]:
    """Read auto, native, or one or three voxel sizes joined by x or a comma."""
    if text in ("auto", "native"):
        return text
    try:
        sizes = tuple(float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 3) or not all(0 < mm < math.inf for mm in sizes):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give auto, native, or mm such as 1.05 or 1.05,1.05,2"
        )
    return sizes


def _gigabytes(text: str) -> float:
    """Read an amount of memory in GiB: 16, 16G, 16000M."""
    number, unit = text.strip().upper().removesuffix("B"), 1.0
    if number and number[-1] in "MGT":
        number, unit = number[:-1], {"M": 1 / 1024, "G": 1.0, "T": 1024.0}[number[-1]]
    elif float(number) >= 1000:
        raise argparse.ArgumentTypeError(f"{text}: GiB or MiB? Write {text}G or {text}M")
    return above_zero(number) * unit


def _megabytes(text: str) -> float:
    """Read an amount of memory in GiB from a number of MiB."""
    return _gigabytes(text if text.strip()[-1:].isalpha() else f"{text}M")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``dmri7t``."""
    parser = HintingParser(
        "dmri7t",
        description="Make a 7T-like diffusion scan of every 3T one of a BIDS data set.",
        epilog=examples(
            "dmri7t study out participant --dry-run      # which scans would be taken",
            "dmri7t study out participant -w scratch/work",
            "dmri7t study out participant --participant-label 01 02 --mem 16 --nprocs 8",
            "dmri7t qsiprep_out out participant --output-layout qsiprep",
            "dmri7t study out group                      # one table and page of all",
            more="Options that take no value are off unless they are given.\n"
            "Exit codes: 0 all done; 1 some participant failed; 2 bad usage or input;\n"
            "130 interrupted; 143 terminated.",
        ),
    )
    add = parser.add_argument
    add("bids_dir", type=Path, help="root of the input; see --input-type")
    add("out_dir", type=Path, help="the derivative data set that is written")
    add(
        "analysis_level",
        choices=["participant", "group"],
        help="participant: translate scans; group: one table and page of all results in out_dir",
    )
    add("--version", action="version", version=f"dmri7t {__version__}")
    add_completion(parser)
    _which_scans(parser.add_argument_group("which scans"))
    _cleaning(parser.add_argument_group("what is done to raw scans first"))
    _what_is_made(parser.add_argument_group("what is made"))
    _how_it_is_run(parser.add_argument_group("how it is run"))
    return parser


def _which_scans(group: argparse._ArgumentGroup) -> None:
    """Options that choose scans."""
    add = group.add_argument
    add(
        "--participant-label",
        "--participant_label",
        nargs="+",
        type=_labels("sub-"),
        action=Labels,
        default=[],
        metavar="LABEL",
        help="participants, with or without sub-, separated by spaces or commas; default: all",
    )
    add(
        "--session-id",
        "--session-label",
        nargs="+",
        type=_labels("ses-"),
        action=Labels,
        default=[],
        metavar="LABEL",
        help="sessions, with or without ses-, separated by spaces or commas; default: all",
    )
    add(
        "--input-type",
        choices=["auto", *input_types()],
        default="auto",
        help=f"what the input is: {describe_input_types()}; auto looks at dataset_description.json "
        "and at the names (default: %(default)s)",
    )
    add(
        "--derivatives",
        nargs="+",
        type=_derivative,
        default=[],
        metavar="NAME=PATH",
        help="results that lie beside the input: "
        + "; ".join(f"{name}=PATH, {program.taken}" for name, program in programs().items()),
    )
    add(
        "--bids-filter-file",
        type=Path,
        metavar="JSON",
        help='entities that scans must have: {"dwi": {"acquisition": "hires"}}',
    )
    add(
        "--bids-database-dir",
        type=Path,
        metavar="DIR",
        help="keep pybids' index here; default: it is not kept",
    )
    add("--skip-bids-validation", action="store_true", help="do not check the data set first")
    add(
        "--brain-mask",
        default="",
        metavar="PATH",
        help="brain masks, on the scans' own grids, instead of those beside the scans: a path in "
        "which {sub}, {ses} and other entities stand for those of the scan, and * for any "
        "letters; none: find brains anew; default: those beside the scans",
    )
    add(
        "--exclude-volumes",
        nargs="+",
        type=_volumes,
        default=[],
        metavar="N",
        help="volumes to leave out of every scan, counted from 0: 12, 64-66, last; for a single "
        f"scan list them in its sidecar as {FIELD}",
    )
    add(
        "--separate-all-dwis",
        "--separate_all_dwis",
        action="store_true",
        help="translate each series for itself; default: parts of one acquisition (of one session, "
        "grid, phase encoding and times) are joined",
    )
    add(
        "--b0-threshold",
        type=above_zero,
        default=_DEFAULTS["b0_threshold"],
        metavar="B",
        help="b-values up to this are b0, s/mm2 (default: %(default)g)",
    )
    add(
        "--shells",
        nargs="+",
        type=above_zero,
        default=[],
        metavar="B",
        help="b-values that go through the model; default: all that lie in the range of its "
        "training; others are interpolated",
    )


def _cleaning(group: argparse._ArgumentGroup) -> None:
    """Options for scans that nothing was done to."""
    add = group.add_argument
    add("--denoise", action="store_true", help="take out noise by MP-PCA")
    add("--gibbs", action="store_true", help="take out Gibbs ringing, after --denoise")


def _what_is_made(group: argparse._ArgumentGroup) -> None:
    """Options that decide the result."""
    add = group.add_argument
    add("--model", default="default", help="name of a model that ships, or a model's folder")
    add(
        "--output-resolution",
        type=_resolution,
        default=_DEFAULTS["output_resolution"],
        metavar="MM",
        help="auto (1.05/1.25 of the input's voxels), native, or mm (default: %(default)s)",
    )
    add(
        "--upsampling",
        choices=UPSAMPLING,
        default=_DEFAULTS["upsampling"],
        help="super-resolution by the model or by a B-spline (default: %(default)s)",
    )
    add("--sampler-steps", type=count, metavar="N", help="default: the model's")
    add(
        "--samples",
        type=count,
        metavar="N",
        help="samples that are averaged; default: the model's, 1 with --estimate sample",
    )
    add(
        "--estimate",
        choices=ESTIMATES,
        default=_DEFAULTS["estimate"],
        help="mean: least error; sample: one draw of the diffusion by --random-seed, taken wholly, "
        "with more error; the default's looks hardly more like 7T than the mean (default: "
        "%(default)s)",
    )
    add(
        "--weigh-by",
        choices=WEIGHED_BY,
        default=_DEFAULTS["weigh_by"],
        help="scan: directions that are left out decide, order by order, what part filter and "
        "model have in the result, ties to interpolation; model: measured coefficients are scaled "
        "wholly to the model's RISH, as in the paper (default: %(default)s; models of the paper's "
        "form and plain regressions always scale wholly; with scan, their order 0 is held to the "
        "scan's own before)",
    )
    add(
        "--energy",
        type=fraction,
        default=_DEFAULTS["energy"],
        metavar="FRACTION",
        help="how far filtered coefficients are scaled to the energy of the true ones: 0 is least "
        "error, 1 unbiased RISH (default: %(default)g)",
    )
    add(
        "--keep-floor",
        dest="remove_floor",
        action="store_false",
        help="leave weak signals as high as noise makes their magnitudes; by default the floor of "
        "the noise is taken out, as far as the darkest places of the brain show one",
    )
    add(
        "--no-compare",
        dest="compare",
        action="store_false",
        help="do not measure MP-PCA beside the result; saves a few seconds a shell",
    )
    add(
        "--consistency",
        type=fraction,
        nargs="?",
        const=CONSISTENCY,
        default=_DEFAULTS["consistency"],
        metavar="FRACTION",
        help="hold the result to what was measured at spatial frequencies below this fraction of "
        "the input's Nyquist frequency (without a number: %(const)g; default: off)",
    )
    add(
        "--output-layout",
        choices=LAYOUTS,
        default=_DEFAULTS["output_layout"],
        help="qsiprep: name the 7T-like scan as QSIPrep names its own, so that QSIRecon takes the "
        "output folder as its input (default: %(default)s)",
    )
    add(
        "--random-seed",
        type=seed,
        default=_DEFAULTS["random_seed"],
        metavar="S",
        help="of the sampler (default: %(default)s)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default=_DEFAULTS["precision"],
        help="auto: bfloat16 on CUDA and CPUs with AMX; float32 is the reference",
    )


def _how_it_is_run(group: argparse._ArgumentGroup) -> None:
    """Options that do not change the result."""
    add = group.add_argument
    add(
        "-w",
        "--work-dir",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="cached intermediate results (default: ./work)",
    )
    add(
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        "--n_cpus",
        type=count,
        metavar="N",
        help="processors for all; default: what this process may use",
    )
    add(
        "--omp-nthreads",
        type=count,
        metavar="N",
        help="threads of one node at most; default: those of --nprocs over the number of scans, in "
        f"a job of SLURM {CLUSTER_THREADS}",
    )
    add(
        "--mem",
        "--mem-gb",
        type=_gigabytes,
        metavar="GB",
        help="memory for all, such as 16, 16G or 16000M; default: 90 %% of it",
    )
    add(
        "--mem-mb",
        "--mem_mb",
        dest="mem",
        type=_megabytes,
        metavar="MB",
        help="the same in MiB; default: as --mem",
    )
    add(
        "--low-mem",
        action="store_true",
        help="one node at a time, and networks in overlapping tiles: less memory, more time, "
        "the same result up to rounding",
    )
    add(
        "--use-plugin",
        "--nipype-plugin-file",
        dest="plugin_file",
        type=Path,
        metavar="YAML",
        help="where nodes run, in Nipype's form: plugin: SLURM (a job a node) or MultiProc, and "
        "plugin_args; default: this machine",
    )
    add("--device", choices=["auto", *DEVICES], default="auto", help="for the networks")
    add("--stop-on-first-crash", action="store_true", help="stop all when one node fails")
    add(
        "--clean-workdir",
        action="store_true",
        help="once all results are found whole, remove what this run put into the work folder",
    )
    add(
        "--resource-monitor",
        action="store_true",
        help="write logs/resources.tsv: time, memory and processors of every node",
    )
    add(
        "--config-file",
        "--config_file",
        type=Path,
        metavar="TOML",
        help="options from a file, by their names; the command line goes first",
    )
    add("--notrack", action="store_true", help="accepted: nothing is ever tracked")
    add(
        "--tractography",
        action="store_true",
        help="count peaks and streamlines before and after in the report; some seconds a scan",
    )
    add("--write-graph", action="store_true", help="draw the graph into the work folder")
    only = group.add_mutually_exclusive_group().add_argument
    only("--dry-run", action="store_true", help="say what would be done, and stop")
    only(
        "--reports-only",
        action="store_true",
        help="draw the reports anew from the work folder of a finished run with the same options",
    )
    only(
        "--boilerplate-only",
        action="store_true",
        help="write the methods text (logs/CITATION.md and .bib), and stop",
    )
    add(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="-v: a line for every node that starts or ends; -vv: Nipype's log, and tracebacks; "
        "-vvv: its debugging",
    )
