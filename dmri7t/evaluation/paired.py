"""Cases of real or simulated pairs of 3T and 7T scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.evaluation.case import Case
from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.source import Source
from dmri7t.signal.gradients import ShellVolumes
from dmri7t.signal.resample import resample_mask
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.training.pairs import FIELDS, common_shells


def paired_labels(source: Source) -> list[str]:
    """Subjects with both a 3T and a 7T scan.

    Raises
    ------
    InputError
        If there is none.
    """
    both = [x for x in source.labels if all(field in source.by_session(x) for field in FIELDS)]
    if not both:
        raise InputError(
            f"{source.root}: no subject with both a 3T and a 7T scan (ses-3T and ses-7T, or "
            "T1w/Diffusion and T1w/Diffusion_7T); give --degrade or --repeats for scans of one "
            "field."
        )
    return both


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


def _pair(
    label: str, low: OpenScan, high: OpenScan, shell: ShellVolumes, other: ShellVolumes
) -> Case:
    overlap = high.brain.mask & resample_mask(low.brain.mask, low.brain.grid, high.brain.grid)
    if not overlap.any():
        raise InputError(
            f"sub-{label}: the brains of the 3T and the 7T scan do not overlap; register them to "
            "one space."
        )
    seven_tesla = Shell.from_signal(high.measured(other))
    inside = torch.from_numpy(overlap[high.brain.mask])
    scan = ShellScan.of(_three_tesla(low, shell), Brain(overlap, high.brain.grid))
    truth = Estimate.measured(seven_tesla, inside)
    orders = min(seven_tesla.n_orders, scan.represent().n_orders)
    return Case(label, shell.name, scan, truth, overlap, orders=orders)


def _three_tesla(opened: OpenScan, shell: ShellVolumes) -> ShellSignal:
    """What methods are given: a few b-values that are off move a median less than a mean."""
    bval = float(np.median(opened.table.bvals[list(shell.indices)]))
    return attrs.evolve(opened.measured(shell), bval=bval)
