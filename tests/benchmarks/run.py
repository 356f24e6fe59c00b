"""Time dmri7t against MRtrix on the same image and the same cores, in one run.

The image is as large as an HCP 3T scan: 145 x 174 x 145 voxels of 1.25 mm, 6 b0 and 90
directions at b = 1000, with a brain of about a million voxels. Both sides do a step on the same
voxels: harmonics on all (amp2sh knows no mask), from the same uncompressed NIfTI file, and for
amp2sh also from the layout that it likes best, a .mif with the volumes of a voxel side by side;
the tensor in the brain, MRtrix again from that .mif. Each pair of commands
runs several times, now the one first, now the other; medians and the median ratio are written to
docs/benchmarks when everything was measured at full size, and printed otherwise. Seconds of a
single step are those of a program that is already imported, files read and written; seconds of
the app and of MRtrix's commands are those of whole processes. Peak memory is the largest sum of
proportional set sizes of a process and its children, looked at ten times a second; files that
are mapped count as far as they are in memory.

python tests/benchmarks/run.py [--runs N] [--only sh|sh-mif|tensor|whole] [--size full|small]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
SIZES = {"full": ((145, 174, 145), 90), "small": ((48, 58, 48), 30)}
TABLE = ROOT / "docs" / "benchmarks" / "speed.tsv"


def make_image(folder: Path, size: str) -> Path:
    """Write a BIDS data set with one scan; returns the image's path without its ending."""
    from dmri7t.signal.gradients import GradientTable
    from dmri7t.simulation.acquisition import spread_directions

    shape, n_directions = SIZES[size]
    rng = np.random.default_rng(0)
    directions = np.concatenate([np.zeros((6, 3)), spread_directions(n_directions)])
    bvals = np.array([0.0] * 6 + [1000.0] * n_directions)
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij")
    radius = np.sqrt(sum((a / s) ** 2 for a, s in zip(axes, (0.78, 0.86, 0.82), strict=True)))
    brain = np.clip((1 - radius) / 0.03, 0, 1)
    angle = 2 * axes[0] + axes[2]
    fibre = np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    affine = np.diag([-1.25, 1.25, 1.25, 1.0])
    affine[:3, 3] = 90, -108, -90
    stem = folder / "bids/sub-01/dwi/sub-01_dwi"
    stem.parent.mkdir(parents=True)
    data = np.empty((*shape, len(bvals)), np.int16, order="F")
    for i, (bval, direction) in enumerate(zip(bvals, directions, strict=True)):
        along = np.tensordot(direction, fibre, 1) ** 2
        clean = 1000 * brain * np.exp(-bval * (0.4e-3 + 1.2e-3 * along))
        real, imaginary = rng.normal(0, 40, (2, *shape)).astype(np.float32)
        data[..., i] = np.hypot(clean + real, imaginary)
    nibabel.save(nibabel.Nifti1Image(data, affine), f"{stem}.nii.gz")
    table = GradientTable(bvals, directions)
    np.savetxt(f"{stem}.bval", bvals[None], fmt="%g")
    np.savetxt(f"{stem}.bvec", table.to_fsl(affine), fmt="%.8f")
    description = {"Name": "benchmark", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "bids/dataset_description.json").write_text(json.dumps(description))
    brain_file = folder / "mask.nii"
    nibabel.save(nibabel.Nifti1Image((brain > 0.5).astype(np.uint8), affine), brain_file)
    return stem


def prepare(folder: Path, stem: Path) -> None:
    """Lay out what the steps start from: NIfTI, .mif in memory order, rows of volumes in .npy."""
    gradients = ["-fslgrad", f"{stem}.bvec", f"{stem}.bval"]
    command = ["mrconvert", f"{stem}.nii.gz", folder / "dwi.mif", *gradients]
    command += ["-datatype", "float32", "-strides", "2,3,4,1"]
    subprocess.run([*map(str, command), "-quiet"], check=True)
    command = ["mrconvert", folder / "dwi.mif", folder / "dwi.nii", "-strides", "1,2,3,4"]
    command += ["-export_grad_fsl", folder / "dwi.bvec", folder / "dwi.bval"]
    subprocess.run([*map(str, command), "-quiet"], check=True)
    image = nibabel.load(f"{stem}.nii.gz")
    mask = np.asarray(nibabel.load(folder / "mask.nii").dataobj) > 0
    data = np.asarray(image.dataobj)
    kind = {"mode": "w+", "dtype": np.float32}
    n = image.shape[3]
    brain = np.lib.format.open_memmap(folder / "brain.npy", shape=(n, int(mask.sum())), **kind)
    for i in range(n):
        brain[i] = data[..., i][mask]
    np.save(folder / "bvals.npy", np.loadtxt(f"{stem}.bval"))
    from dmri7t.signal.gradients import GradientTable

    table = GradientTable.from_fsl(
        np.loadtxt(f"{stem}.bval"), np.loadtxt(f"{stem}.bvec"), image.affine
    )
    np.save(folder / "directions.npy", table.directions)


SH_PROGRAM = """
import dipy.reconst.shm, nibabel, numpy as np, torch
torch.set_num_threads({threads})
from dmri7t.io.arrays import create_array
from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.rish import rish
import time; start = time.perf_counter()
image = nibabel.load('dwi.nii')
rows = image.shape[3], int(np.prod(image.shape[:3]))
stored = np.memmap('dwi.nii', np.float32, 'c', image.dataobj.offset, rows)
dwi = torch.from_numpy(stored)
plan = plan_fit(np.load('directions.npy')[6:], 4)
coefficients = create_array('sh.npy', (15, dwi.shape[1]))
features = create_array('rish.npy', (3, dwi.shape[1]))
for first in range(0, dwi.shape[1], 65536):
    slab = slice(first, first + 65536)
    # the fit is linear: dividing its result by b0 is dividing the signals, with less to divide
    sh = fit(dwi[6:, slab], plan).div_(dwi[:6, slab].mean(0).clamp_min_(1))
    coefficients[:, slab] = sh.numpy()
    features[:, slab] = rish(sh).numpy()
print(time.perf_counter() - start)
"""

TENSOR_PROGRAM = """
import numpy as np, torch
torch.set_num_threads({threads})
from dmri7t.signal.tensor import fit_tensor
import time; start = time.perf_counter()
dwi = torch.from_numpy(np.load('brain.npy', mmap_mode='c'))
tensor = fit_tensor(dwi, np.load('bvals.npy'), np.load('directions.npy'), 2)
np.save('tensor.npy', tensor.numpy())
print(time.perf_counter() - start)
"""


def watch(process: subprocess.Popen) -> float:
    """Largest memory in GiB of a process and its children until it ends."""
    peak, me = 0, psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for p in [me, *me.children(recursive=True)]:
            try:
                total += p.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0.1)
    return peak / 2**30


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak GiB of a command."""
    start = time.perf_counter()
    with open(folder / "log.txt", "a") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        peak = watch(process)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n" + (folder / "log.txt").read_text()[-3000:])
    return seconds, peak


def program(text: str, threads: int, folder: Path) -> tuple[float, float]:
    """Seconds that a program prints of itself: imports are not what is compared."""
    run = subprocess.run(
        [sys.executable, "-c", text.format(threads=threads)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout), 0.0


def mrtrix(folder: Path, *commands: str) -> tuple[float, float]:
    """Seconds and peak GiB of MRtrix commands one after another."""
    seconds, peaks = zip(
        *(timed(f"{c} -force -quiet".split(), folder) for c in commands), strict=True
    )
    return sum(seconds), max(peaks)


def whole(folder: Path, threads: int, model: str) -> tuple[float, float]:
    """Run the app afresh."""
    for name in ("out", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "dmri7t.cli.app",
        "bids",
        "out",
        "participant",
        "-w",
        "work",
        "--output-resolution",
        "1.05",
        "--sampler-steps",
        "10",
        "--model",
        model,
        "--nprocs",
        str(threads),
        "--skip-bids-validation",
    ]
    return timed(command, folder)


def compare(
    name: str, ours: Callable[[], tuple], theirs: Callable[[], tuple], runs: int
) -> dict[str, object]:
    """Run both in turn, each first every other time; medians, ratio, peaks."""
    mine: list[tuple] = []
    peer: list[tuple] = []
    for run in range(runs):
        sides = [(peer, theirs), (mine, ours)]
        for measurements, side in sides[:: 1 if run % 2 == 0 else -1]:
            measurements.append(side())
        print(f"{name}: dmri7t {mine[-1][0]:.2f} s, MRtrix {peer[-1][0]:.2f} s", flush=True)
    medians = [statistics.median(s for s, _ in side) for side in (mine, peer)]
    ratio = statistics.median(a / b for (a, _), (b, _) in zip(mine, peer, strict=True))
    peaks = [max(p for _, p in side) for side in (mine, peer)]
    return {
        "what": name,
        "dmri7t s": f"{medians[0]:.2f}",
        "MRtrix s": f"{medians[1]:.2f}",
        "ratio": f"{ratio:.2f}",
        "dmri7t peak GiB": f"{peaks[0]:.2f}" if peaks[0] else "",
        "MRtrix peak GiB": f"{peaks[1]:.2f}",
        "runs": runs,
    }


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["sh", "sh-mif", "tensor", "whole"])
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--model", default="default")
    parser.add_argument("--output", type=Path, help=f"default: {TABLE.relative_to(ROOT)}")
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    n = f"-nthreads {threads}"
    tensor = f"dwi2tensor dwi.mif dt.mif -mask mask.nii -ols -iter 2 {n}"
    voxel = "regrid fine.mif -voxel 1.05 -interp cubic"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, make_image(folder, args.size))
        pairs = {
            "sh": (
                "SH of order 4 and RISH against amp2sh, both from a NIfTI file",
                lambda: program(SH_PROGRAM, threads, folder),
                lambda: mrtrix(
                    folder, f"amp2sh dwi.nii sh.nii -lmax 4 -fslgrad dwi.bvec dwi.bval {n}"
                ),
            ),
            "sh-mif": (
                "SH of order 4 and RISH from NIfTI against amp2sh from and to its own .mif",
                lambda: program(SH_PROGRAM, threads, folder),
                lambda: mrtrix(folder, f"amp2sh dwi.mif sh.mif -lmax 4 {n}"),
            ),
            "tensor": (
                "tensor, two reweightings, against dwi2tensor, in the brain",
                lambda: program(TENSOR_PROGRAM, threads, folder),
                lambda: mrtrix(folder, tensor),
            ),
            "whole": (
                "whole participant, 1.25 to 1.05 mm, 10 steps, against mrgrid and dwi2tensor",
                lambda: whole(folder, threads, args.model),
                lambda: mrtrix(
                    folder, f"mrgrid dwi.mif {voxel} {n}", f"dwi2tensor fine.mif dt.mif {n}"
                ),
            ),
        }
        for key, (title, ours, theirs) in pairs.items():
            if args.only in (None, key):
                rows.append(compare(title, ours, theirs, args.runs))
    lines = ["\t".join(rows[0]), *("\t".join(str(v) for v in row.values()) for row in rows)]
    command = "python tests/benchmarks/run.py " + " ".join(sys.argv[1:])
    head = f"# {command.strip()}; {threads} cores; image {SIZES[args.size][0]}\n"
    table = head + "\n".join(lines) + "\n"
    print(table)
    published = args.size == "full" and args.only is None
    output = args.output or (TABLE if published else None)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table)


if __name__ == "__main__":
    main()
