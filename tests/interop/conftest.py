"""One scan, written in both layouts by the command line, for other programs to read."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from examples import make

STEM = "sub-01_ses-a_acq-hi_dir-AP_run-01"
"""Entities of the scan."""


@dataclass(frozen=True)
class Written:
    """A derivative data set with one scan.

    Parameters
    ----------
    root : Path
    dwi, mask, fa : Path
        Of the 7T-like scan.
    source : Path
        The scan that it was made from.
    """

    root: Path
    dwi: Path
    mask: Path
    fa: Path
    source: Path

    def beside(self, ending: str) -> Path:
        """File of the 7T-like scan with another ending."""
        return self.dwi.with_name(self.dwi.name.removesuffix(".nii.gz") + ending)


def run(*command: object, **options: object) -> str:
    """Run a program that must not fail; its standard output."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def program(name: str, package: str) -> str:
    """Path of a program beside Python's own or on the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        pytest.skip(f"{package} is not installed ({name} is missing)")
    return found


LAYOUTS = {"bids": ("", "7Tlike"), "qsiprep": ("_space-ACPC", "preproc")}
"""What the names of the 7T-like scan say of space and description, by layout."""

NAME = f"sub-01/ses-a/dwi/{STEM}_dwi"
"""Of the scan within its data set."""


def write_both(root: Path, model: Path) -> None:
    """Write the same scan in both layouts: oblique, axes to the right, the front and the top."""
    description = {"Name": "interop", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    # the validator wants two authors of a data set, and ours has those of its source
    description |= {"License": "CC0", "Authors": ["A. Bee", "C. Dee"]}
    (root / "in").mkdir(parents=True)
    (root / "in/dataset_description.json").write_text(json.dumps(description))
    (root / "in/README").write_text("A phantom.\n")
    make.write_scan(root / "in", {"name": NAME, "tilt": 12, "flip": [1, 1, 1]}, 0)
    sidecar = root / f"in/{NAME}.json"
    fields = {"PhaseEncodingDirection": "j-", "SliceTiming": [0.0] * 20}
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **fields}))
    for layout in LAYOUTS:
        options = ("--model", model, "--samples", 1, "--output-layout", layout, "--nprocs", 2)
        command = (sys.executable, "-m", "dmri7t.cli.app", root / "in", root / layout)
        # with one work folder the second run only writes
        said = run(*command, "participant", *options, "-w", root / "work")
        assert ("not aligned" in said) == (layout == "qsiprep")
    (root / "written").touch()


@pytest.fixture(scope="session")
def written(tiny_model, tmp_path_factory) -> dict[str, Written]:
    """The scan in both layouts; several processes of one test run share what the first made."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    root = shared / "interop"
    with open(shared / "interop.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "written").exists():
            write_both(root, tiny_model)
    found = {}
    for layout, (space, desc) in LAYOUTS.items():
        folder = root / layout / "sub-01/ses-a/dwi"
        found[layout] = Written(
            root / layout,
            folder / f"{STEM}{space}_desc-{desc}_dwi.nii.gz",
            folder / f"{STEM}{space}_desc-brain_mask.nii.gz",
            folder / f"{STEM}_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz",
            root / f"in/{NAME}.nii.gz",
        )
    return found


@pytest.fixture(params=["bids", "qsiprep"])
def result(request, written) -> Written:
    """The result in each layout."""
    return written[request.param]
