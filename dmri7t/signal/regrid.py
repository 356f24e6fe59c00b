"""Mask voxels of one grid to mask voxels of another, without ever holding whole images."""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.grids import voxel_coordinates
from dmri7t.signal.resample import apply_axes, linear_matrix, nearest_in_mask, spline_matrix
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
        self._linear = [linear_matrix(source.shape[a], coordinates[a]) for a in range(3)]
        self._shape = source.shape
        self._fill = torch.as_tensor(nearest_in_mask(inside.mask).ravel())
        self._pick = torch.as_tensor(np.flatnonzero(inside_out.mask.ravel()))

    @property
    def n_out(self) -> int:
        """Voxels of the target's mask."""
        return len(self._pick)

    def positive(self, values_V: torch.Tensor) -> torch.Tensor:
        """Interpolate an image (V,) that nowhere is below zero; gives (V',).

        A spline undershoots beside a steep edge. Where it does, linear interpolation answers,
        which lies between its neighbours.
        """
        fine_V = self(values_V[None])[0]
        if bool((fine_V <= 0).any()):
            linear_V = self._interpolate(values_V[None], self._linear)[0]
            fine_V = torch.where(fine_V > 0, fine_V, linear_V.clamp_min(0))
        return fine_V

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Interpolate images (T, V), one or several; gives (T, V')."""
        return self._interpolate(values_TV, self._matrices)

    def _interpolate(self, values_TV: torch.Tensor, matrices: list[np.ndarray]) -> torch.Tensor:
        out_TV = values_TV.new_empty(values_TV.shape[0], self.n_out)
        for first in range(0, len(values_TV), ROWS):
            rows = slice(first, first + ROWS)
            box = values_TV[rows][:, self._fill].reshape(-1, *self._shape)
            fine = apply_axes(box, matrices)
            torch.index_select(fine.flatten(1), 1, self._pick, out=out_TV[rows])
        return out_TV
