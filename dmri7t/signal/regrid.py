"""Mask voxels of one grid to mask voxels of another, without ever holding whole images."""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.grids import voxel_coordinates
from dmri7t.signal.resample import apply_axes, nearest_in_mask, spline_matrix
from dmri7t.signal.shell import Brain

MARGIN = 4
"""Voxels around the mask that take part: a cubic B-spline's reach fades to 0.5 % over them."""

ROWS = 8
"""Images that are interpolated at once: enough for the matrix products, little memory."""


class Regrid:
    """Cubic B-spline from the voxels of one mask to those of another.

    Outside the source's mask the nearest voxel's value is taken, so that its edge does not ring.

    Parameters
    ----------
    brain : Brain
        Source; grids must have parallel axes.
    brain_out : Brain
        Target.
    """

    def __init__(self, brain: Brain, brain_out: Brain) -> None:
        inside = brain.bounded(MARGIN)
        inside_out = brain_out.bounded()
        source, target = inside.grid, inside_out.grid
        coordinates = voxel_coordinates(source, target)
        self._matrices = [spline_matrix(source.shape[a], coordinates[a]) for a in range(3)]
        self._shape = source.shape
        self._fill = torch.as_tensor(nearest_in_mask(inside.mask).ravel())
        self._pick = torch.as_tensor(np.flatnonzero(inside_out.mask.ravel()))

    @property
    def n_out(self) -> int:
        """Voxels of the target's mask."""
        return len(self._pick)

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Interpolate images (T, V), one or several; gives (T, V')."""
        out_TV = values_TV.new_empty(values_TV.shape[0], self.n_out)
        for first in range(0, len(values_TV), ROWS):
            rows = slice(first, first + ROWS)
            box = values_TV[rows][:, self._fill].reshape(-1, *self._shape)
            fine = apply_axes(box, self._matrices)
            torch.index_select(fine.flatten(1), 1, self._pick, out=out_TV[rows])
        return out_TV
