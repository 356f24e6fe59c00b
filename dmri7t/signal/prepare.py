"""Brain voxels of a scan, volume by volume: mean b0, mask, repairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.mask import brain_mask
from dmri7t.signal.quality import repair

SMALLEST = 1e-10
"""Median b0 below which squares of signals underflow."""

LOST = 0.1
"""Volumes whose mean is below this part of the median of those of their b-value have lost it."""

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


def mask_volumes(
    volume: Callable[[int], np.ndarray], mask_XYZ: np.ndarray, out_NV: np.ndarray
) -> dict[str, Any]:
    """Write the brain voxels of every volume into rows of an array.

    Parameters
    ----------
    volume : callable
        Gives volume i, (X, Y, Z).
    mask_XYZ : ndarray of bool
    out_NV : ndarray (N, V)
        Is filled; voxels in the mask's C order.

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
    nonfinite = negative = 0
    for row in range(len(out_NV)):
        values = np.asarray(volume(row)).ravel(order="F")[positions]
        out_NV[row], bad, below = repair(values)
        nonfinite += bad
        negative += below
    return {"nonfinite": nonfinite, "negative": negative}
