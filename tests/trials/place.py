"""A clean place for a trial, and the small data set that most of them start from."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import attrs
import nibabel
import numpy as np
from examples import make

from dmri7t.files import file_sha256

SCAN = {"shape": [12, 12, 10], "voxel": [5.0, 5.5, 5.0], "shells": {"1000": 16}, "n_b0": 2}
"""The smallest scan in which a brain is found and all stages run."""

BRAIN = {"shape": [24, 28, 20], "voxel": [2.5] * 3, "shells": {"1000": 16}, "n_b0": 2}
"""A scan whose white matter is thick enough to be measured."""

LABELS = ("01", "02")

MARK = "DMRI7T_TRIAL"
"""Variable of the environment by which the processes of a trial are told."""


@attrs.frozen
class Place:
    """A folder in which one case is tried: ``in``, ``out``, ``work`` and what else it needs.

    Parameters
    ----------
    root : Path
        The current folder of the commands.
    """

    root: Path

    @classmethod
    def make(cls, parent: Path) -> Place:
        """Make an empty one."""
        place = cls(Path(mkdtemp(prefix="trial-", dir=parent)))
        # other users may look in: some cases run as nobody
        place.root.chmod(0o755)
        for name in ("tmp", "home"):
            (place.root / name).mkdir()
        return place

    @property
    def input(self) -> Path:
        """The data set that comes in."""
        return self.root / "in"

    @property
    def out(self) -> Path:
        """Where results go unless the case says otherwise."""
        return self.root / "out"

    def scan(self, label: str = "01", ending: str = ".nii.gz") -> Path:
        """A file of a participant's scan."""
        return self.input / f"sub-{label}/dwi/sub-{label}_dwi{ending}"

    def result(self, label: str = "01", name: str = "desc-7Tlike_dwi.nii.gz") -> Path:
        """A result of a participant."""
        return self.out / f"sub-{label}/dwi/sub-{label}_{name}"

    def environment(self, model: Path) -> dict[str, str]:
        """Variables of the processes that are started here."""
        commands = {
            name: str(Path(sys.executable).with_name(command))
            for name, command in (("DMRI7T", "dmri7t"), ("DMRI7T_MODEL", "dmri7t-model"))
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DMRI7T", "SLURM"))}
        # paths there may be told from the folder that tests run in
        paths = [os.path.abspath(p) for p in kept.pop("PYTHONPATH", "").split(":") if p]
        own = {"TMPDIR": str(self.root / "tmp"), "HOME": str(self.root / "home")}
        if paths:
            own["PYTHONPATH"] = ":".join(paths)
        shared = {"MPLCONFIGDIR": str(self.root.parent / "matplotlib"), "OMP_NUM_THREADS": "1"}
        named = {"MODEL": str(model), "PYTHON": sys.executable, MARK: self.root.name}
        return {**kept, **own, **shared, **commands, **named}

    def remove(self) -> None:
        """Remove all of it, whatever rights its folders have."""
        for folder, names, _ in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o755)
        shutil.rmtree(self.root, ignore_errors=True)


Edit = Callable[[Place], None]
"""Changes something in a place."""

Made = TypeVar("Made")

_made: dict[Hashable, Any] = {}
_making: dict[Hashable, threading.Lock] = {}
_any_making = threading.Lock()


def once(key: Hashable, make: Callable[[], Made]) -> Made:
    """Make what cases share once, whoever of those that are tried at once asks first.

    Parameters
    ----------
    key : hashable
        What is made.
    make : callable
        Makes it; the others wait meanwhile.
    """
    with _any_making:
        lock = _making.setdefault(key, threading.Lock())
    with lock:
        if key not in _made:
            _made[key] = make()
        return _made[key]


def base_data(parent: Path) -> Path:
    """The data set of two participants that cases start from; made once."""
    root = parent / "base"
    scans = [{"name": f"sub-{x}/dwi/sub-{x}_dwi"} for x in LABELS]
    return once(root, lambda: write_dataset(root, scans))


def write_dataset(root: Path, scans: list[dict[str, Any]]) -> Path:
    """Write a raw BIDS data set of small scans, described as in ``bids_examples``."""
    root.mkdir(parents=True, exist_ok=True)
    make._describe(root, "trial", {})
    (root / "README").write_text("for a trial\n")
    for seed, scan in enumerate(scans):
        make.write_scan(root, {**SCAN, **scan}, seed)
    return root


def with_base(place: Place) -> None:
    """Put the two participants of the base data set there."""
    shutil.copytree(base_data(place.root.parent), place.input)


def with_one(place: Place) -> None:
    """Put the first participant of the base data set there, alone."""
    with_base(place)
    shutil.rmtree(place.input / "sub-02")


def scan_with(**changes: Any) -> Edit:
    """Write one participant whose scan differs from the usual one in what a skeleton may say."""

    def edit(place: Place) -> None:
        write_dataset(place.input, [{"name": "sub-01/dwi/sub-01_dwi", **changes}])

    return edit


def copy_participant(place: Place, label: str, source: str = "02") -> None:
    """Copy a participant under another label."""
    for path in sorted((place.input / f"sub-{source}/dwi").iterdir()):
        copy = place.scan(label).with_name(path.name.replace(f"sub-{source}", f"sub-{label}"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def edit_image(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the voxels of an image; NaN and all kinds of numbers may come in."""
    image = nibabel.load(path)
    data = change(np.asarray(image.dataobj).copy())
    header = image.header.copy()
    header.set_data_dtype(data.dtype)
    nibabel.save(nibabel.Nifti1Image(data, image.affine, header), path)


def edit_numbers(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the numbers of a bval or bvec file."""
    np.savetxt(path, np.atleast_2d(change(np.loadtxt(path, ndmin=2))), fmt="%.8g")


def tree_digest(root: Path) -> str:
    """One checksum of the names and contents of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            total.update(f"{path.relative_to(root)} {file_sha256(path)}\n".encode(errors="replace"))
    return total.hexdigest()
