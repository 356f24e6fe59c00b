"""Interpolation by the scanner: finer voxels than were measured, as the sidecar tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FINER = 0.95
"""An acquired matrix below this share of the image's was filled up with zeros."""


def describe_interpolation(sidecar: Mapping[str, Any], shape: Sequence[int]) -> str:
    """Say how the scanner interpolated an image; empty where nothing tells that it did.

    Parameters
    ----------
    sidecar : dict
        With the fields that dcm2niix writes: ``Interpolation2D``, ``AcquisitionMatrixPE``,
        ``ReconMatrixPE``, ``PhaseEncodingDirection``.
    shape : sequence of int
        Voxels of the image.

    Examples
    --------
    >>> describe_interpolation({"AcquisitionMatrixPE": 104}, (208, 208, 60))
    'AcquisitionMatrixPE is 104, for 208 voxels'
    >>> describe_interpolation({"AcquisitionMatrixPE": 104, "ReconMatrixPE": 104}, (208, 208, 60))
    ''
    >>> describe_interpolation({"Interpolation2D": True}, (104, 104, 60))
    'Interpolation2D is true'
    """
    if sidecar.get("Interpolation2D") in (True, 1):
        return "Interpolation2D is true"
    axis = str(sidecar.get("PhaseEncodingDirection") or "j")[0]
    along = shape["ijk".index(axis)] if axis in "ijk" else shape[1]
    acquired, voxels = sidecar.get("AcquisitionMatrixPE"), sidecar.get("ReconMatrixPE", along)
    numbers = [n for n in (acquired, voxels) if isinstance(n, int | float) and n > 0]
    if len(numbers) == 2 and numbers[0] < FINER * numbers[1]:
        return f"AcquisitionMatrixPE is {numbers[0]:g}, for {numbers[1]:g} voxels"
    return ""
