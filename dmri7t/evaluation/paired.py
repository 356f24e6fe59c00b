"""Cases of real or simulated pairs of 3T and 7T scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.evaluation.case import Case
from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.source import Source
from dmri7t.signal.grids import Grid
from dmri7t.signal.represent import represent
from dmri7t.signal.resample import resample_mask
from dmri7t.training.pairs import FIELDS, common_shells


def paired_labels(source: Source) -> list[str]:
    """Subjects with both a 3T and a 7T scan."""
    return [x for x in source.labels if all(field in source.by_session(x) for field in FIELDS)]


def paired_cases(
    source: Source, labels: Iterable[str], shells: Sequence[float] = ()
) -> Iterator[Case]:
    """Read subjects one by one; a case for every shell that both scans have.

    The methods answer on the 7T scan's grid; what counts is where both brains' masks overlap.
    The reference is the 7T scan's own gain-corrected, debiased RISH; FA of both sides is that of
    the signals which their coefficients give at the 3T scan's directions.

    Parameters
    ----------
    source : Source
    labels : iterable of str
    shells : sequence of float
        b-values to use; empty: all.

    Raises
    ------
    InputError
        If the scans of a subject do not lie in one space.
    """
    for label in labels:
        scans = source.by_session(label)
        with open_checked(scans[FIELDS[0]]) as low, open_checked(scans[FIELDS[1]]) as high:
            for shell, other in common_shells(low.shells, high.shells, shells):
                yield _pair(label, low, high, shell, other)


def _pair(label: str, low: OpenScan, high: OpenScan, shell: Any, other: Any) -> Case:
    overlap = high.mask & resample_mask(low.mask, low.grid, high.grid)
    if not overlap.any():
        raise InputError(
            f"sub-{label}: the brains of the 3T and the 7T scan do not overlap; register them to "
            "one space."
        )
    directions = high.table.directions[list(other.indices)]
    b0_V = torch.from_numpy(high.b0[high.mask])
    rep = represent(high.read(other.indices), b0_V, directions, high.n_b0)
    inside = torch.from_numpy(overlap[high.mask])
    scan = scan_of_shell(low, shell.indices, low.n_b0, overlap, high.grid)
    truth = Estimate.measured(rep, inside)
    fitted = [rep.plan.order, scan.represent().plan.order]
    return Case(label, shell.name, scan, truth, overlap, orders=min(3, min(fitted) // 2 + 1))


def scan_of_shell(
    opened: OpenScan, indices: Sequence[int], n_b0: int, mask_out: np.ndarray, grid_out: Grid
) -> ShellScan:
    """What methods are given of some volumes of an opened scan."""
    return ShellScan(
        signal_NV=opened.read(indices),
        b0_V=torch.from_numpy(opened.b0[opened.mask]),
        directions_N3=opened.table.directions[list(indices)],
        bval=float(np.median(opened.table.bvals[list(indices)])),
        n_b0=n_b0,
        mask=opened.mask,
        grid=opened.grid,
        mask_out=mask_out,
        grid_out=grid_out,
    )
