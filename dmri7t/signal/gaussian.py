"""Averages over a Gaussian, of what lies inside a mask alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dmri7t.signal.resample import apply_axes


class Averages:
    """Averages of images over the inside of a mask.

    Parameters
    ----------
    inside : Tensor (X, Y, Z) of bool
    sds : sequence of three floats
        Standard deviations along the axes, voxels.
    """

    def __init__(self, inside: torch.Tensor, sds: Sequence[float] | np.ndarray) -> None:
        self._inside = inside
        self._matrices = [_matrix(n, sd) for n, sd in zip(inside.shape, sds, strict=True)]
        self._weight = apply_axes(inside.float(), self._matrices).clamp_min(1e-3)

    def __call__(self, volumes: torch.Tensor) -> torch.Tensor:
        """Average volumes (..., X, Y, Z)."""
        return apply_axes(volumes * self._inside, self._matrices) / self._weight


def _matrix(n: int, sd: float) -> np.ndarray:
    offset = np.arange(n)[:, None] - np.arange(n)[None]
    weight = np.exp(-0.5 * (offset / sd) ** 2)
    weight[weight < 1e-3] = 0
    return weight / weight.sum(1).max()
