"""What the tutorials share: a folder for their files, commands with what they print, slices."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

ROOT = Path(__file__).parents[2]

FOLDER = Path(tempfile.mkdtemp(prefix="dmri7t-tutorials-"))
"""Where all commands run; gone when Python ends."""

(FOLDER / "bids_examples").symlink_to(ROOT / "bids_examples")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

DATA = "python bids_examples/make.py good/two_people study"
"""Two small simulated scans: a page takes seconds."""

FIRST_RUN = "dmri7t study study-7Tlike participant --participant-label 01 -w work"

RESULT = "sub-01/dwi/sub-01"
"""How the names of its results begin, in the output folder; those of the scan do, too."""

_done: set[str] = set()


def run(command: str) -> None:
    """Run a command in :data:`FOLDER`; print it and what it prints.

    Raises
    ------
    RuntimeError
        If it fails; says what it printed.
    """
    print(f"$ {command}")
    print(_run(command))


def needs(*commands: str) -> None:
    """Run those commands of an earlier tutorial that did not run yet, and print nothing."""
    for command in commands:
        if command not in _done:
            _run(command)


def _run(command: str) -> str:
    # programs that stand beside this Python, whether or not its environment is active
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command),
        cwd=FOLDER,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}")
    _done.add(command)
    return done.stdout.replace(f"{FOLDER}/", "")


def files(folder: str, pattern: str = "*") -> None:
    """Print the names of the files below a folder of :data:`FOLDER`."""
    root = FOLDER / folder
    for path in sorted(root.rglob(pattern)):
        if path.is_file():
            print(path.relative_to(FOLDER))


def noiseless(image: nibabel.Nifti1Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a scanner without noise would measure of the first person, on the grid of an image.

    Returns
    -------
    signals : ndarray (X, Y, Z, N)
    bvals : ndarray (N,)
    directions : ndarray (N, 3)
        In the scanner's frame.
    """
    spec = importlib.util.spec_from_file_location("make", ROOT / "bids_examples" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    scan = {**make.SCAN, **make.skeletons()["good/two_people"]["scan"][0]}
    size = make.field_of_view(scan["shape"], make.make_affine(scan))
    bvals, directions = make.gradients(scan)
    shape, head = list(image.shape[:3]), scan["head"]
    signals = make.phantom(shape, image.affine, bvals, directions, 0, head=head, size=size, noise=0)
    return signals, bvals, directions


def axial(path: Path, volume: int = 0, height: float = 0.5) -> np.ndarray:
    """Axial slice of an image as radiologists see it: front up, the patient's right on the left.

    Parameters
    ----------
    path : Path
    volume : int
        Of a 4D image.
    height : float
        From 0, the lowest slice, to 1.

    Returns
    -------
    ndarray (rows, columns)
    """
    image = nibabel.as_closest_canonical(nibabel.load(path))
    data = np.asanyarray(image.dataobj)
    data = data[..., volume] if data.ndim == 4 else data
    return data[::-1, ::-1, round(height * (data.shape[2] - 1))].T
