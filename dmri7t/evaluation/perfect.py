"""What a perfect answer scores: the same simulated heads, scanned without noise.

The reference of a degraded scan is noisy. A measure that calls the truth itself worse than
interpolation cannot tell which method is nearer to it.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.evaluation.chain import Estimate
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.source import open_dataset
from dmri7t.signal.gradients import ShellVolumes
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.shell import Shell
from dmri7t.training.pairs import common_shells


def perfect_answer(
    root: Path, label: str, stem: str, opened: OpenScan, shell: ShellVolumes
) -> Estimate:
    """RISH and coefficients of a shell, from the scan of the same name that has no noise.

    Parameters
    ----------
    root : Path
        BIDS data set of the same heads.
    label, stem : str
        Participant, and name of the scan.
    opened : OpenScan
        The noisy scan, whose mask voxels are answered for.
    shell : ShellVolumes
        Of it.

    Raises
    ------
    InputError
        If there is no such scan, shell or grid.
    """
    source = open_dataset(root)
    scans = source.scans(label) if label in source.labels else []
    for scan in scans:
        if scan.stem == stem:
            with open_checked(scan) as twin:
                return _answer(twin, scan.dwi, opened, shell)
    raise InputError(f"{root}: has no scan {stem}; simulate it with the same seed.")


def _answer(twin: OpenScan, path: Path, opened: OpenScan, shell: ShellVolumes) -> Estimate:
    grids = [
        (g.shape, np.round(g.affine, 4).tolist()) for g in (twin.brain.grid, opened.brain.grid)
    ]
    if grids[0] != grids[1]:
        raise InputError(f"{path}: its grid is not that of the degraded scan; use the same layout.")
    pairs = common_shells([shell], twin.shells)
    if not pairs:
        raise InputError(f"{path}: has no shell {shell.name}; simulate it with the same shells.")
    measured = twin.measured(pairs[0][1], opened.brain)
    answer = Estimate.measured(Shell.from_signal(measured))
    return attrs.evolve(answer, b0_V=floor_b0(measured.b0_V), floorless=True)
