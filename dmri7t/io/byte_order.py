"""Integers whose bytes stand in another order than the header says."""

from __future__ import annotations

import numpy as np

ROUGH = 0.4
"""Of an image that is none; b0s of scanners have 0.04 to 0.13 (31 scans), coarse phantoms 0.3."""


def roughness(volume_XYZ: np.ndarray) -> float:
    """How much neighbouring voxels differ, as a share of how much any two do.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(20, 20, 20))
    >>> slope = np.broadcast_to(np.arange(20.0), (20, 20, 20))
    >>> round(roughness(noise), 1), round(roughness(slope), 1)
    (1.0, 0.0)
    """
    # single bright voxels would be all that differs
    volume = volume_XYZ.astype(np.float64).clip(*np.percentile(volume_XYZ, [1, 99]))
    steps = [np.diff(volume, axis=axis) for axis in range(3) if volume.shape[axis] > 1]
    variance = float(volume.var())
    if not steps or variance == 0:
        return 0.0
    return float(np.mean([(step**2).mean() for step in steps])) / (2 * variance)


def is_swapped(volume_XYZ: np.ndarray) -> bool:
    """Whether numbers, as they lie in a file, make an image only if their bytes are turned round.

    Examples
    --------
    >>> place = np.arange(20.0)
    >>> head = np.add.outer(np.add.outer(place, place), place)
    >>> volume = (1000 * np.exp(-((head - 30) ** 2) / 400)).astype(np.int16)
    >>> is_swapped(volume), is_swapped(volume.byteswap()), is_swapped(volume.astype(np.float32))
    (False, True, False)
    """
    if volume_XYZ.dtype.kind not in "iu" or volume_XYZ.dtype.itemsize < 2:
        return False
    found = roughness(volume_XYZ)
    return found > ROUGH and found > 2 * roughness(volume_XYZ.byteswap())
