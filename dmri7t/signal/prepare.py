"""Brain voxels of a scan, volume by volume: mean b0, mask, repairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.mask import brain_mask
from dmri7t.signal.quality import repair

SMALLEST = 1e-10
"""Median b0 below which squares of signals underflow."""

LOST = 0.1
"""Volumes whose mean is below this part of the median of those of their b-value have lost it."""

BRIGHT = 1.3
"""Volumes whose mean is above this multiple of that of the b0s have another scale or b-value:
weighting makes darker, and what drifts does so by less."""

EMPTY = 0.5
"""Volumes that are zero in more than this part of the brain have lost it, too."""


def mean_volume(volume: Callable[[int], np.ndarray], indices: tuple[int, ...]) -> np.ndarray:
    """Mean of some volumes, (X, Y, Z) float32, repaired values counting as zero."""
    total = repair(volume(indices[0]))[0].astype(np.float64)
    for index in indices[1:]:
        total += repair(volume(index))[0]
    return (total / len(indices)).astype(np.float32)


def find_brain(
    b0_XYZ: np.ndarray, voxel_sizes: np.ndarray, given_XYZ: np.ndarray | None = None
) -> np.ndarray:
    """Mask of the voxels that are worked on: the one that was given, or else one found.

    Voxels without any signal in the b0 are left out: nothing can be divided by them.

    Raises
    ------
    InputError
        If no voxel is left, or the mask does not fit the image.
    """
    if given_XYZ is None:
        mask = brain_mask(b0_XYZ, voxel_sizes)
    elif given_XYZ.shape != b0_XYZ.shape:
        raise InputError(
            f"the brain mask has {given_XYZ.shape} voxels and the scan {b0_XYZ.shape}; "
            "give a mask on the scan's grid"
        )
    else:
        mask = np.asarray(given_XYZ, bool)
    mask = mask & (b0_XYZ > 0)
    if not mask.any():
        raise InputError("the brain mask is empty, or lies where the b0 has no signal")
    if (middle := float(np.median(b0_XYZ[mask]))) < SMALLEST:
        raise InputError(
            f"the b0 has a median of {middle:.1g} in the brain, too little to calculate with; "
            "scale the image"
        )
    return mask


def scales_to_first(b0s_XYZ: Sequence[np.ndarray], mask_XYZ: np.ndarray) -> list[float]:
    """Factors that bring series to the scale of the first, by the median of their b0 in the brain.

    Parameters
    ----------
    b0s_XYZ : sequence of ndarray (X, Y, Z)
        Mean b0 of every series.
    mask_XYZ : ndarray of bool

    Raises
    ------
    InputError
        If a series has no signal there.

    Examples
    --------
    >>> b0 = np.random.default_rng(0).uniform(1, 2, (4, 4, 4))
    >>> scales_to_first([b0, 2 * b0], np.ones((4, 4, 4), bool))
    [1.0, 0.5]
    """
    medians = [float(np.median(b0[mask_XYZ])) for b0 in b0s_XYZ]
    if min(medians) < SMALLEST:
        raise InputError(
            f"part {medians.index(min(medians)) + 1} of the scan has no b0 signal where the brain "
            "of the first is; give --separate-all-dwis"
        )
    return [medians[0] / median for median in medians]


def lost_volumes(dwi_NV: np.ndarray, groups: Iterable[Sequence[int]]) -> list[int]:
    """Volumes that are constant or hold hardly any signal, of those of their b-value.

    Parameters
    ----------
    dwi_NV : ndarray (N, V)
        What is not finite or negative is zero already.
    groups : iterable of sequence of int
        Volumes of one b-value each.

    Examples
    --------
    >>> volumes = np.random.default_rng(0).uniform(1, 2, (6, 50))
    >>> volumes[1], volumes[2], volumes[4] = 0, 7, 0.01 * volumes[4]
    >>> lost_volumes(volumes, [[0, 1, 2, 3, 4, 5]])
    [1, 2, 4]
    """
    step = max(1, dwi_NV.shape[1] // 50_000)
    lost = []
    for rows in groups:
        samples = [np.asarray(dwi_NV[row, ::step]) for row in rows]
        usual = float(np.median([sample.mean(dtype=float) for sample in samples]))
        for row, sample in zip(rows, samples, strict=True):
            constant = sample.min() == sample.max() and len(sample) > 1
            weak = sample.mean(dtype=float) < LOST * usual
            if constant or weak or (sample == 0).mean() > EMPTY:
                lost.append(row)
    return sorted(lost)


def bright_volumes(dwi_NV: np.ndarray, groups: Sequence[Sequence[int]]) -> dict[int, float]:
    """Weighted volumes that are brighter than weighting can leave them.

    Parameters
    ----------
    dwi_NV : ndarray (N, V)
        What is not finite or negative is zero already.
    groups : sequence of sequence of int
        The b0s, then the volumes of each shell.

    Returns
    -------
    dict
        By the number of a volume how many times as bright it is as the b0s are.

    Examples
    --------
    >>> volumes = np.ones((5, 50)) * [[100], [40], [400], [40], [120]]
    >>> bright_volumes(volumes, [[0], [1, 2, 3, 4]])
    {2: 4.0}
    """
    step = max(1, dwi_NV.shape[1] // 50_000)
    b0s, *shells = groups
    unweighted = float(np.median([dwi_NV[row, ::step].mean(dtype=float) for row in b0s]))
    bright = {}
    for row in sorted(row for shell in shells for row in shell):
        times = float(dwi_NV[row, ::step].mean(dtype=float)) / unweighted
        if times > BRIGHT:
            bright[row] = times
    return bright


def mask_volumes(
    volume: Callable[[int], np.ndarray],
    mask_XYZ: np.ndarray,
    out_NV: np.ndarray,
    threads: int = 1,
) -> dict[str, Any]:
    """Write the brain voxels of every volume into rows of an array.

    Parameters
    ----------
    volume : callable
        Gives volume i, (X, Y, Z).
    mask_XYZ : ndarray of bool
    out_NV : ndarray (N, V)
        Is filled; voxels in the mask's C order.
    threads : int
        That read volumes, each its own.

    Returns
    -------
    dict
        How many values were ``nonfinite`` or ``negative`` and set to zero.
    """
    # nibabel's arrays lie in Fortran order: pick along their memory, then bring to C order
    flipped = np.asfortranarray(mask_XYZ)
    positions = np.flatnonzero(flipped.ravel(order="F"))
    x, y, z = np.unravel_index(positions, mask_XYZ.shape, order="F")
    to_c_order = np.argsort(np.ravel_multi_index((x, y, z), mask_XYZ.shape), kind="stable")
    positions = positions[to_c_order]

    def read(row: int) -> tuple[int, int]:
        values = np.asarray(volume(row)).ravel(order="F")[positions]
        out_NV[row], bad, below = repair(values)
        return bad, below

    with ThreadPoolExecutor(threads) as readers:
        repaired = list(readers.map(read, range(len(out_NV))))
    nonfinite, negative = (sum(counts) for counts in zip(*repaired, strict=True))
    return {"nonfinite": nonfinite, "negative": negative}
