"""Brain voxels of a scan, volume by volume: mean b0, mask, repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.mask import brain_mask
from dmri7t.signal.quality import repair


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
    return mask


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
