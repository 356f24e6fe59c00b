"""Sampling grids: shape and affine, and the finer grid of the 7T-like image."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import ArrayLike

SEVEN_TO_THREE = 1.05 / 1.25
"""Voxel size of HCP's 7T diffusion scans over that of its 3T ones."""


def _three(shape: Sequence[int]) -> tuple[int, int, int]:
    """Voxels along the first three axes."""
    x, y, z = (int(n) for n in shape[:3])
    return x, y, z


def as_floats(values: ArrayLike) -> np.ndarray:
    """An array of float64, whatever it was."""
    return np.asarray(values, float)


@attrs.frozen(eq=False)
class Grid:
    """Where the voxels of an image lie.

    Parameters
    ----------
    shape : tuple of int (3,)
    affine : ndarray (4, 4)
        From voxel indices to scanner coordinates in mm.
    """

    shape: tuple[int, int, int] = attrs.field(converter=_three)
    affine: np.ndarray = attrs.field(converter=as_floats)

    @property
    def voxel_sizes(self) -> np.ndarray:
        """Edge lengths of a voxel in mm, (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
        """Return the grid of the voxels from ``start`` up to, not including, ``stop``."""
        affine = self.affine.copy()
        affine[:3, 3] = self.affine[:3, :3] @ np.asarray(start, float) + self.affine[:3, 3]
        return Grid(tuple(b - a for a, b in zip(start, stop, strict=True)), affine)


def default_output_voxel(grid: Grid) -> np.ndarray:
    """Voxel sizes (3,) in mm, finer by 1.25 / 1.05, the step from HCP's 3T to its 7T.

    Examples
    --------
    >>> default_output_voxel(Grid((2, 2, 2), np.diag([1.25, 1.25, 1.25, 1]))).round(6).tolist()
    [1.05, 1.05, 1.05]
    """
    return grid.voxel_sizes * SEVEN_TO_THREE


def refine(grid: Grid, voxel_sizes: np.ndarray | float) -> Grid:
    """Return the grid with exactly these voxel sizes over the same field of view.

    Axes and centre stay; the number of voxels is the smallest that covers the field of view,
    so the new one is never smaller than the old and larger by less than a voxel.

    Parameters
    ----------
    grid : Grid
    voxel_sizes : ndarray (3,) or float
        mm.

    Examples
    --------
    >>> refine(Grid((145, 174, 145), np.diag([1.25, 1.25, 1.25, 1])), 1.05).shape
    (173, 208, 173)
    """
    old = grid.voxel_sizes
    new = np.broadcast_to(np.asarray(voxel_sizes, float), (3,))
    # the small slack keeps rounding from adding a voxel where the sizes divide evenly
    shape = np.ceil(np.asarray(grid.shape) * old / new - 1e-3).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3] / old * new
    centre = grid.affine[:3, :3] @ ((np.asarray(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(tuple(shape), affine)


def voxel_coordinates(source: Grid, target: Grid) -> list[np.ndarray]:
    """Index of every target voxel in the source, axis by axis.

    Parameters
    ----------
    source, target : Grid
        With parallel axes.

    Returns
    -------
    list of three ndarrays (target.shape[axis],)

    Raises
    ------
    ValueError
        If the axes are not parallel: then the axes do not separate.
    """
    step = np.linalg.inv(source.affine) @ target.affine
    off_axis = step[:3, :3] - np.diag(np.diag(step[:3, :3]))
    if np.abs(off_axis).max() > 1e-4:
        raise ValueError("the two grids are rotated against each other")
    return [step[a, 3] + step[a, a] * np.arange(target.shape[a]) for a in range(3)]


def place_words(place_mm: Sequence[float]) -> str:
    """Scanner coordinates (right, anterior, superior) in mm as readers say them.

    Examples
    --------
    >>> place_words([-31.2, 12.0, 40.4])
    'L 31, A 12, S 40 mm'
    """
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return (
        ", ".join(
            f"{pair[0] if mm >= 0 else pair[1]} {abs(mm):.0f}"
            for pair, mm in zip(letters, place_mm, strict=True)
        )
        + " mm"
    )
