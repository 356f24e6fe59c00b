"""Time dmri7t against MRtrix on the same image and the same processors, in one run.

The usual image is as large as an HCP 3T scan: 145 x 174 x 145 voxels of 1.25 mm, 6 b0 and 90
directions at b = 1000, with a brain of about a million voxels; ``--size`` has others. What is
measured (``--only``):

sh, sh-mif, tensor
    Single steps on the same voxels: harmonics on all (amp2sh knows no mask), from the same
    uncompressed NIfTI file, and for amp2sh also from the layout that it likes best, a .mif with
    the volumes of a voxel side by side; the tensor in the brain, MRtrix again from that .mif.
    Seconds are those of a program that is already imported, files read and written.
whole
    The app with all defaults, as a user types it, beside ``mrgrid`` to its voxel sizes and
    ``dwi2tensor``. Where the time goes, node by node. Seconds are those of whole processes, gzip
    and report included.
sampled
    The same with samples drawn (``--estimate sample --sampler-steps 10``).
denoised
    The app with all defaults beside ``dwidenoise``, ``mrgrid`` and ``dwi2tensor``. Only where it
    is named: ``dwidenoise`` takes a quarter of an hour of two processors for the usual image.
cohort
    Eight participants with the small scan in one run, and one participant alone.
dry-run
    Planning ten of 2,000 participants, and the memory that planning 200 takes more than ten.
growth
    Scans that differ by voxels, volumes and shells, and the line that processor seconds follow.

Pairs of commands run several times (``--runs``), now the one first, now the other; medians of
seconds and the median ratio count. Every table is printed, and written to docs/benchmarks (or
another folder, ``--output``), a file a kind, with the command that made it, where ``--write`` says
that the machine was quiet: figures of a loaded machine are none.

``--size tiny`` makes all of it small, to try it.

python tests/benchmarks/run.py [--only WHAT ...] [--size SIZE] [--runs N] [--write]
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from app import Run, plan_app, run_app
from measured import Measured, n_processors
from scans import GROWTH, SIZES, Size, add_participants, make_image, prepare_mif, prepare_steps
from steps import SH_PROGRAM, TENSOR_PROGRAM, mrtrix, program

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "docs" / "benchmarks"

SAMPLED = ("--estimate", "sample", "--sampler-steps", "10")
"""Options of the run beside the default one."""

STEPS = ("sh", "sh-mif", "tensor")
WHOLE = ("whole", "sampled", "denoised")
KINDS = (*STEPS, *WHOLE, "cohort", "dry-run", "growth")
USUAL = tuple(kind for kind in KINDS if kind != "denoised")
"""What is measured, and what of it unless something is named."""

Row = dict[str, str]


def compare(
    name: str, ours: Callable[[], Measured], theirs: Callable[[], Measured], runs: int
) -> Row:
    """Run both in turn, each first every other time; medians, ratio, peaks."""
    mine: list[Measured] = []
    peer: list[Measured] = []
    for run in range(runs):
        sides = [(peer, theirs), (mine, ours)]
        for measured, side in sides[:: 1 if run % 2 == 0 else -1]:
            measured.append(side())
        print(f"{name}: {mine[-1].seconds:.2f} s, MRtrix {peer[-1].seconds:.2f} s", flush=True)
    return comparison(name, mine, peer)


def comparison(name: str, mine: Sequence[Measured], peer: Sequence[Measured]) -> Row:
    """Row of a table: medians over runs, the median ratio, largest peaks."""

    def median(values: Iterator[float]) -> str:
        value = statistics.median(values)
        return f"{value:.2f}" if value else ""

    utilisation = statistics.median(m.utilisation for m in mine)
    return {
        "what": name,
        "dmri7t s": median(m.seconds for m in mine),
        "MRtrix s": median(m.seconds for m in peer),
        "ratio": median(a.seconds / b.seconds for a, b in zip(mine, peer, strict=True)),
        "dmri7t CPU s": median(m.cpu_seconds for m in mine),
        "MRtrix CPU s": median(m.cpu_seconds for m in peer),
        "utilisation": f"{utilisation:.2f}" if utilisation else "",
        "dmri7t peak GiB": median(iter([max(m.peak_gb for m in mine)])),
        "MRtrix peak GiB": median(iter([max(m.peak_gb for m in peer)])),
        "runs": str(len(mine)),
    }


def measure_steps(folder: Path, runs: int, wanted: Sequence[str]) -> list[Row]:
    """Single steps beside MRtrix's."""
    gradients = "-fslgrad dwi.bvec dwi.bval"
    pairs = {
        "sh": (
            "SH of order 4 and RISH against amp2sh, both from a NIfTI file",
            SH_PROGRAM,
            f"amp2sh dwi.nii sh.nii -lmax 4 {gradients}",
        ),
        "sh-mif": (
            "SH of order 4 and RISH from NIfTI against amp2sh from and to its own .mif",
            SH_PROGRAM,
            "amp2sh dwi.mif sh.mif -lmax 4",
        ),
        "tensor": (
            "tensor, two reweightings, against dwi2tensor, in the brain",
            TENSOR_PROGRAM,
            "dwi2tensor dwi.mif dt.mif -mask mask.nii -ols -iter 2",
        ),
    }
    return [
        compare(
            title,
            lambda ours=ours: program(ours, folder),
            lambda theirs=theirs: mrtrix(folder, theirs),
            runs,
        )
        for key, (title, ours, theirs) in pairs.items()
        if key in wanted
    ]


def measure_whole(
    folder: Path, size: Size, runs: int, options: Sequence[str], wanted: set[str]
) -> tuple[dict[str, list[Row]], list[Row]]:
    """Whole runs beside what MRtrix needs for the same files: rows a table; and node by node."""
    fine_mm = size.voxel_mm * 1.05 / 1.25
    commands = {
        "mrgrid": f"mrgrid dwi.mif regrid fine.mif -voxel {fine_mm:g} -interp cubic",
        "dwi2tensor": "dwi2tensor fine.mif dt.mif",
    }
    if "denoised" in wanted:
        commands = {"dwidenoise": "dwidenoise dwi.mif denoised.mif"} | commands
    ways = {}
    if wanted & {"whole", "denoised"}:
        ways["default"] = tuple(options)
    if "sampled" in wanted:
        ways["10 steps, 2 samples"] = (*options, *SAMPLED)
    peers: list[dict[str, Measured]] = []
    ours: dict[str, list[Run]] = {name: [] for name in ways}
    for run in range(runs):
        for turn in ("peer", "ours")[:: 1 if run % 2 == 0 else -1]:
            if turn == "peer":
                peers.append({name: mrtrix(folder, each) for name, each in commands.items()})
            else:
                for name, way in ways.items():
                    ours[name].append(run_app(folder, *way))
        took = {name: made[-1].measured for name, made in ours.items()} | peers[-1]
        words = ", ".join(f"{name} {measured.seconds:.1f} s" for name, measured in took.items())
        print(words, flush=True)
    # what mrgrid and dwi2tensor do does not depend on the values: they are timed once
    plain = [peer["mrgrid"] + peer["dwi2tensor"] for peer in peers]
    tables: dict[str, list[Row]] = {"whole": [], "denoised": []}
    for name, made in ours.items():
        mine = [r.measured for r in made]
        if name != "default" or "whole" in wanted:
            title = f"whole, {name}, against mrgrid and dwi2tensor"
            tables["whole"].append(comparison(title, mine, plain))
        if name == "default" and "denoised" in wanted:
            denoised = [peer["dwidenoise"] + p for peer, p in zip(peers, plain, strict=True)]
            title = f"whole, {name}, against dwidenoise, mrgrid and dwi2tensor"
            tables["denoised"].append(comparison(title, mine, denoised))
    nodes = [row for name, made in ours.items() for row in made[-1].rows(name)]
    return tables, nodes


def measure_cohort(size: Size, options: Sequence[str], n: int = 8) -> list[Row]:
    """A cohort of scans, and one of them alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stem = make_image(folder, size)
        alone = run_app(folder, *options).measured
        add_participants(stem, n)
        together = run_app(folder, *options).measured
    each = together.seconds / n
    return [
        {
            "what": f"{n} participants, {size.describe()}",
            "s a participant": f"{each:.2f}",
            "s of one alone": f"{alone.seconds:.2f}",
            "ratio": f"{each / alone.seconds:.2f}",
            "CPU s a participant": f"{together.cpu_seconds / n:.2f}",
            "utilisation": f"{together.utilisation:.2f}",
            "peak GiB": f"{together.peak_gb:.2f}",
        }
    ]


def measure_plans(n: int = 2000) -> list[Row]:
    """Planning few of many participants, and more and more of them."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stem = make_image(folder, Size((24, 28, 20), 2.0, (1000.0,), 16, 2))
        add_participants(stem, n)
        labels = [f"{number:04}" for number in range(2, 202)]
        for count in (10, 200):
            took = plan_app(folder, labels[:count])
            rows.append(
                {
                    "what": f"--dry-run of {count} among {n} participants",
                    "s": f"{took.seconds:.1f}",
                    "CPU s": f"{took.cpu_seconds:.1f}",
                    "peak GiB": f"{took.peak_gb:.3f}",
                }
            )
    return rows


def measure_growth(sizes: Mapping[str, Size], options: Sequence[str]) -> tuple[list[Row], str]:
    """Processor seconds of scans of many sizes, and the line that they follow."""
    rows: list[Row] = []
    terms, seconds = [], []
    for what, size in sizes.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_image(folder, size)
            mask = np.asarray(nibabel.load(folder / "mask.nii").dataobj)
            voxels = mask.sum(dtype=float) / 1e6
            took = run_app(folder, *options).measured
        terms.append([1, voxels * size.n_volumes, voxels * len(size.bvals)])
        seconds.append(took.cpu_seconds)
        rows.append(
            {
                "what": what,
                "scan": size.describe(),
                "s": f"{took.seconds:.1f}",
                "CPU s": f"{took.cpu_seconds:.1f}",
                "peak GiB": f"{took.peak_gb:.2f}",
            }
        )
        print(rows[-1], flush=True)
    (start, volume, shell), *_ = np.linalg.lstsq(np.array(terms), np.array(seconds), rcond=None)
    line = (
        f"CPU seconds = {start:.1f} + {volume:.3f} a million brain voxels and volume + "
        f"{shell:.1f} a million brain voxels and shell, by least squares"
    )
    return rows, line


def write_table(rows: Sequence[Row], path: Path | None, *notes: str) -> None:
    """Print a table; with a path, write it too."""
    command = "python tests/benchmarks/run.py " + shlex.join(sys.argv[1:])
    heads = [f"# {line}" for line in (f"{command.strip()}; {n_processors()} processors", *notes)]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    text = "\n".join([*heads, *lines]) + "\n"
    print(text, flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=KINDS, nargs="+", default=USUAL, metavar="WHAT")
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", help="a model's folder instead of the default model")
    parser.add_argument("--write", action="store_true", help="the machine is quiet: keep tables")
    parser.add_argument("--output", type=Path, default=TABLES, help="folder of the tables")
    args = parser.parse_args()
    options = ["--model", args.model] if args.model else []
    size = SIZES[args.size]
    wanted = set(args.only)
    before = os.getloadavg()[0]

    def table(rows: Sequence[Row], name: str, *notes: str) -> None:
        load = f"load when it began {before:.1f}"
        write_table(rows, args.output / f"{name}.tsv" if args.write else None, load, *notes)

    suffix = "" if args.size == "full" else f"_{args.size}"
    if wanted & {*STEPS, *WHOLE}:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stem = make_image(folder, size)
            prepare_mif(folder, stem)
            if wanted & {*STEPS}:
                prepare_steps(folder, stem)
                rows = measure_steps(folder, args.runs, args.only)
                table(rows, f"steps{suffix}", size.describe())
            if wanted & {*WHOLE}:
                tables, nodes = measure_whole(folder, size, args.runs, options, wanted)
                for kind, rows in tables.items():
                    if rows:
                        table(rows, f"{kind}{suffix}", size.describe())
                if wanted & {"whole", "sampled"}:
                    table(nodes, f"nodes{suffix}", size.describe(), "CPU seconds of the last run")
    tried = "_tiny" if args.size == "tiny" else ""
    if "cohort" in wanted:
        cohort = size if tried else SIZES["small"]
        table(measure_cohort(cohort, options), f"cohort{tried}")
    if "dry-run" in wanted:
        table(measure_plans(), "planning")
    if "growth" in wanted:
        sizes = {what: each.halved() if tried else each for what, each in GROWTH.items()}
        grown, line = measure_growth(sizes, options)
        table(grown, f"growth{tried}", line)


if __name__ == "__main__":
    main()
