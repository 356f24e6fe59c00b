"""The same image with its axes in another order or direction."""

from __future__ import annotations

import attrs
import nibabel
import numpy as np

from dmri7t.signal.grids import Grid

LPS = ("L", "P", "S")
"""Axes as QSIPrep writes them: voxel indices grow to the left, the back and the top."""


@attrs.frozen(eq=False)
class Turn:
    """How voxels move when axes are exchanged and reversed; no value is interpolated.

    Parameters
    ----------
    shape : tuple of int
        Of the image before.
    ornt : ndarray (3, 2)
        nibabel's orientation transform: new axis and direction of each axis before.
    grid : Grid
        Of the image after.
    """

    shape: tuple[int, int, int]
    ornt: np.ndarray
    grid: Grid

    def volume(self, volume_XYZ: np.ndarray) -> np.ndarray:
        """Return a volume (X, Y, Z) with its axes turned; a view."""
        return nibabel.orientations.apply_orientation(volume_XYZ, self.ornt)

    def indices(self, *xyz: np.ndarray) -> tuple[np.ndarray, ...]:
        """Voxel indices after, from those before; each axis an array."""
        after = list(xyz)
        for index, size, (axis, way) in zip(xyz, self.shape, self.ornt, strict=True):
            after[int(axis)] = index if way > 0 else size - 1 - index
        return tuple(after)

    def axis(self, name: str) -> str:
        """Name after of an axis as BIDS names them: i, j or k, with ``-`` where it is reversed.

        Examples
        --------
        >>> las = Grid((4, 5, 6), np.diag([-2.0, 2.0, 2.0, 1.0]))
        >>> turn_to(las).axis("j-"), turn_to(las).axis("i")
        ('j', 'i')
        """
        new, way = self.ornt["ijk".index(name[0])]
        reverse = name.endswith("-") != (way < 0)
        return f"{'ijk'[int(new)]}{'-' if reverse else ''}"


def turn_to(grid: Grid, axes: tuple[str, str, str] = LPS) -> Turn:
    """Find the turn after which each axis of an image points where it is named.

    An oblique image keeps its obliqueness: its axes are those nearest to the ones asked for.

    Parameters
    ----------
    grid : Grid
    axes : tuple of str
        For each axis where its indices grow to: L or R, P or A, I or S, in any order.

    Examples
    --------
    >>> turn = turn_to(Grid((4, 5, 6), np.diag([2.0, 2.0, 2.0, 1.0])))
    >>> turn.grid.affine.tolist()[0]
    [-2.0, 0.0, 0.0, 6.0]
    >>> [int(i) for i in turn.indices(0, 0, 0)]
    [3, 4, 0]
    """
    orientations = nibabel.orientations
    before = orientations.io_orientation(grid.affine)
    ornt = orientations.ornt_transform(before, orientations.axcodes2ornt(axes))
    affine = grid.affine @ orientations.inv_ornt_aff(ornt, grid.shape)
    shape = [0] * 3
    for size, (axis, _) in zip(grid.shape, ornt, strict=True):
        shape[int(axis)] = size
    return Turn(grid.shape, ornt, Grid(tuple(shape), affine))
