"""Labels of tissues, brought to a scan's grid; whether two images share a space."""

from __future__ import annotations

import numpy as np

from dmri7t.signal.grids import Grid

TISSUES = ("GM", "WM", "CSF")
"""Their order everywhere; their labels are 1, 2 and 3."""

MIN_DICE = 0.9
"""Overlap of two brain masks from which on their images are taken to share a space, where their
names do not say otherwise. A real brain that was moved by 10 mm, or turned by 25 degrees, overlaps
with itself by 0.9. What the labels hold is looked at as well, see
:func:`dmri7t.signal.tissues.misfit`."""

MIN_DICE_NAMED = 0.95
"""The same where the names say that the spaces differ, as QSIPrep's ACPC and fMRIPrep's T1w: what
is left of a real brain that was moved by 5 mm, or turned by 10 degrees."""


def nearest(values_XYZ: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Take an image to another grid of the same space: the nearest voxel; zero outside.

    Parameters
    ----------
    values_XYZ : ndarray
    source, target : Grid
        Whatever their axes.

    Returns
    -------
    ndarray (target.shape), of the image's type

    Examples
    --------
    >>> coarse = Grid((2, 1, 1), np.diag([2.0, 2, 2, 1]))
    >>> nearest(np.array([[[5]], [[7]]]), coarse, Grid((4, 1, 1), np.eye(4))).ravel().tolist()
    [5, 5, 7, 7]
    """
    step = np.linalg.inv(source.affine) @ target.affine
    _, y, z = np.meshgrid(0, *(np.arange(n) for n in target.shape[1:]), indexing="ij")
    out = np.zeros(target.shape, values_XYZ.dtype)
    limits = np.reshape(values_XYZ.shape[:3], (3, 1, 1, 1))
    for x in range(target.shape[0]):  # slice by slice: coordinates take more room than images
        at = np.einsum("ij,jkln->ikln", step[:3, :3], np.stack([np.full_like(y, x), y, z]))
        # halves go up, everywhere alike
        index = np.floor(at + step[:3, 3].reshape(3, 1, 1, 1) + 0.5 - 1e-9).astype(int)
        inside = ((index >= 0) & (index < limits)).all(0)
        i, j, k = np.where(inside, index, 0)
        out[x] = np.where(inside, values_XYZ[i, j, k], 0)[0]
    return out


def from_labels(values_XYZ: np.ndarray, labels: tuple[int, ...]) -> np.ndarray:
    """Labels of a program as 1, 2 and 3 for GM, WM and CSF, 0 for all else.

    Examples
    --------
    >>> from_labels(np.array([[[0, 1, 2, 3, 4]]]), (2, 3, 1)).ravel().tolist()
    [0, 3, 1, 2, 0]
    """
    values = np.asarray(values_XYZ).round().astype(int)
    tissues = [values == label for label in labels]
    return np.select(tissues, range(1, len(labels) + 1), 0).astype(np.uint8)


def from_probabilities(maps_TXYZ: np.ndarray) -> np.ndarray:
    """Likeliest tissue as 1, 2 or 3; 0 where none is likelier than one half.

    Examples
    --------
    >>> from_probabilities(np.array([[[[0.6, 0.2]]], [[[0.3, 0.1]]], [[[0.1, 0.1]]]])).tolist()
    [[[1, 0]]]
    """
    likely = maps_TXYZ.max(0) > 0.5
    return np.where(likely, maps_TXYZ.argmax(0) + 1, 0).astype(np.uint8)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks of one shape: twice what they share over what they hold.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    held = np.count_nonzero(one) + np.count_nonzero(other)
    return float(2 * np.count_nonzero(one & other) / held) if held else 0.0
