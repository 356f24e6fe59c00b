"""The neighbours of a voxel within a mask, and averages over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dmri7t.signal.coherence import SIDE, smooth
from dmri7t.signal.shell import Brain

ENERGY_PASSES = 2
"""Smoothings of a band's energy: over about five voxels an axis."""


def side_weights(voxel_sizes: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Weights of the next voxel along each axis.

    The variance of the kernel in mm is the same along all axes, that of (1, 2, 1) / 4 along the
    finest: thick slices are smoothed less.

    Examples
    --------
    >>> side_weights([2, 2, 4])
    (0.25, 0.25, 0.0625)
    """
    sizes = np.asarray(voxel_sizes, float)
    x, y, z = (SIDE * (sizes.min() / sizes) ** 2).tolist()
    return x, y, z


class Neighbourhood:
    """Smoothing within a mask, by normalised convolution.

    What lies outside the mask takes no part: averages are over the voxels within, so a uniform
    image stays as it is up to the rim.

    Parameters
    ----------
    brain : Brain
    device : torch.device, optional
    """

    def __init__(self, brain: Brain, device: torch.device | str = "cpu") -> None:
        mask_XYZ = np.ascontiguousarray(brain.bounded().mask)
        self.inside = torch.as_tensor(mask_XYZ, device=device)
        self.sides = side_weights(brain.voxel_sizes)
        self._flat = torch.nonzero(self.inside.flatten()).squeeze(1)
        self._reach: dict[int, torch.Tensor] = {}

    @property
    def n_voxels(self) -> int:
        """Voxels of the mask."""
        return len(self._flat)

    def place(self, values_V: torch.Tensor) -> torch.Tensor:
        """Lay mask voxels (..., V) into the mask's box (..., x, y, z), zero elsewhere."""
        lead = values_V.shape[:-1]
        volume = values_V.new_zeros(*lead, self.inside.numel())
        volume[..., self._flat] = values_V
        return volume.reshape(*lead, *self.inside.shape)

    def pick(self, volume: torch.Tensor) -> torch.Tensor:
        """Take the mask voxels (..., V) out of a box (..., x, y, z)."""
        return volume.flatten(-3)[..., self._flat]

    def spread(self, volume: torch.Tensor, passes: int = 1) -> torch.Tensor:
        """Convolve boxes (..., x, y, z) by the kernel; what lies outside counts as zero."""
        return smooth(volume, passes, self.sides)

    def smooth(self, values_V: torch.Tensor, passes: int = 1) -> torch.Tensor:
        """Average mask voxels (..., V) over their neighbours within the mask."""
        return self.pick(self.spread(self.place(values_V), passes)) / self.reach(passes)

    def reach(self, passes: int) -> torch.Tensor:
        """What part of the kernel lies within the mask, (V,)."""
        if passes not in self._reach:
            ones = torch.ones(self.n_voxels, device=self.inside.device)
            self._reach[passes] = self.pick(self.spread(self.place(ones), passes))
        return self._reach[passes]

    def averages(
        self, values_V: torch.Tensor, few: int = 1, many: int = 3
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask voxels (..., V) smoothed a few times, and many times."""
        near = self.spread(self.place(values_V), few)
        wide = self.spread(near, many - few)
        return self.pick(near) / self.reach(few), self.pick(wide) / self.reach(many)
