"""Separable cubic B-splines between grids with parallel axes.

Interpolation on such grids is one small matrix per axis. The spline interpolates (it goes
through the samples) and mirrors at the borders, as ``scipy.ndimage`` with ``order=3,
mode="mirror"`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from dmri7t.signal.grids import Grid, voxel_coordinates


def spline_matrix(n_in: int, coordinates: np.ndarray) -> np.ndarray:
    """Interpolation as a matrix.

    Parameters
    ----------
    n_in : int
        Samples on the line.
    coordinates : ndarray (n_out,)
        Where to evaluate, in sample indices; beyond the ends the nearest end is taken.

    Returns
    -------
    ndarray (n_out, n_in)

    Examples
    --------
    >>> samples = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    >>> (spline_matrix(5, [1, 1.5]) @ samples).round(3).tolist()
    [1.0, 0.634]
    """
    return _spline_matrix(n_in, tuple(np.asarray(coordinates, float).tolist()))


@lru_cache(maxsize=64)
def _spline_matrix(n_in: int, coordinates: tuple[float, ...]) -> np.ndarray:
    from scipy.ndimage import spline_filter1d

    if n_in == 1:
        return np.ones((len(coordinates), 1))
    x = np.clip(np.asarray(coordinates), 0, n_in - 1)
    base = np.floor(x).astype(int)
    t = x - base
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1
    )
    rows = np.zeros((len(x), n_in))
    period = 2 * n_in - 2
    for k in range(4):
        index = np.abs(base + k - 1) % period
        index = np.where(index >= n_in, period - index, index)
        np.add.at(rows, (np.arange(len(x)), index), weights[:, k] / 6)
    prefilter = spline_filter1d(np.eye(n_in), order=3, axis=0, mode="mirror")
    return rows @ prefilter


def apply_axes(volume: torch.Tensor, matrices: Sequence[np.ndarray | torch.Tensor]) -> torch.Tensor:
    """Multiply the last three axes of a volume by one matrix each.

    Parameters
    ----------
    volume : Tensor (..., X, Y, Z)
    matrices : three matrices (X', X), (Y', Y), (Z', Z)

    Returns
    -------
    Tensor (..., X', Y', Z')
    """
    mx, my, mz = (torch.as_tensor(m, dtype=volume.dtype, device=volume.device) for m in matrices)
    lead = volume.shape[:-3]
    out = volume.reshape(-1, *volume.shape[-3:])
    out = out @ mz.T
    out = torch.matmul(my, out)
    out = torch.matmul(mx, out.flatten(2)).unflatten(2, (my.shape[0], mz.shape[0]))
    return out.reshape(*lead, *out.shape[-3:])


def interpolate(volume: torch.Tensor, source: Grid, target: Grid) -> torch.Tensor:
    """Bring volumes (..., X, Y, Z) from one grid to another with parallel axes.

    Raises
    ------
    ValueError
        If the grids are rotated against each other.
    """
    coordinates = voxel_coordinates(source, target)
    matrices = [spline_matrix(source.shape[a], coordinates[a]) for a in range(3)]
    return apply_axes(volume, matrices)


def extend(values_TV: torch.Tensor, mask_XYZ: np.ndarray) -> torch.Tensor:
    """Lay mask voxels into a volume and carry the nearest one outwards.

    A spline across the edge of a mask rings; with the edge carried outwards there is none.

    Parameters
    ----------
    values_TV : Tensor (T, V)
        In the mask's C order.
    mask_XYZ : ndarray of bool

    Returns
    -------
    Tensor (T, X, Y, Z)
    """
    nearest = nearest_in_mask(mask_XYZ)
    index = torch.as_tensor(nearest.ravel(), device=values_TV.device)
    return values_TV[:, index].reshape(values_TV.shape[0], *mask_XYZ.shape)


def nearest_in_mask(mask_XYZ: np.ndarray) -> np.ndarray:
    """Rank, in the mask's C order, of the mask voxel nearest to every voxel, (X, Y, Z) int64.

    Examples
    --------
    >>> nearest_in_mask(np.array([[[False, True, True, False]]])).tolist()
    [[[0, 0, 1, 1]]]
    """
    from scipy.ndimage import distance_transform_edt

    mask_XYZ = np.asarray(mask_XYZ, bool)
    rank = np.zeros(mask_XYZ.shape, np.int64)
    rank[mask_XYZ] = np.arange(int(mask_XYZ.sum()))
    nearest = distance_transform_edt(~mask_XYZ, return_distances=False, return_indices=True)
    return rank[tuple(nearest)]


def resample_mask(mask_XYZ: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Bring a mask to another grid: linear interpolation, cut at one half."""
    coordinates = voxel_coordinates(source, target)
    matrices = [linear_matrix(source.shape[a], coordinates[a]) for a in range(3)]
    volume = torch.as_tensor(np.asarray(mask_XYZ, np.float32))
    return (apply_axes(volume, matrices) >= 0.5).numpy()


def linear_matrix(n_in: int, coordinates: np.ndarray) -> np.ndarray:
    """Linear interpolation as a matrix (n_out, n_in); zero beyond half a sample from the ends."""
    x = np.asarray(coordinates, float)
    inside = (x >= -0.5 - 1e-9) & (x <= n_in - 0.5 + 1e-9)
    x = np.clip(x, 0, n_in - 1)
    base = np.minimum(np.floor(x).astype(int), max(n_in - 2, 0))
    rows = np.zeros((len(x), n_in))
    step = np.arange(len(x))
    rows[step, base] += np.where(inside, 1 - (x - base), 0)
    rows[step, np.minimum(base + 1, n_in - 1)] += np.where(inside, x - base, 0)
    return rows


def bounding_box(
    mask_XYZ: np.ndarray, margin: int = 0
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Smallest box around a mask, widened by ``margin`` voxels within the image: start, stop."""
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        line = np.flatnonzero(np.any(mask_XYZ, axis=others))
        if not len(line):
            raise ValueError("the mask is empty")
        start[axis] = max(0, int(line[0]) - margin)
        stop[axis] = min(mask_XYZ.shape[axis], int(line[-1]) + 1 + margin)
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def box_slices(start: Sequence[int], stop: Sequence[int]) -> tuple[slice, slice, slice]:
    """Index of the voxels from ``start`` up to, not including, ``stop``.

    Examples
    --------
    >>> box_slices((0, 1, 2), (3, 4, 5))
    (slice(0, 3, None), slice(1, 4, None), slice(2, 5, None))
    """
    x, y, z = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return x, y, z
