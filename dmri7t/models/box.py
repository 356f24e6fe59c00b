"""The part of an image that networks see."""

from __future__ import annotations

import attrs
import torch
from torch.nn import functional

from dmri7t.signal.resample import interpolate, nearest_in_mask
from dmri7t.signal.shell import Brain

MARGIN = 2
"""Voxels kept around the mask."""


@attrs.frozen(eq=False)
class Box:
    """Part of an image that networks see: the mask's surroundings, padded to whole latents.

    Parameters
    ----------
    brain : Brain
        The part; it has all voxels of the image's mask.
    pad : tuple of int (3,)
        Zeros added behind the last voxel of each axis.
    """

    brain: Brain
    pad: tuple[int, int, int]

    @classmethod
    def around(cls, brain: Brain, multiple: int = 1) -> Box:
        """Box around a brain whose edges are multiples of a number."""
        part = brain.bounded(MARGIN)
        x, y, z = (-n % multiple for n in part.mask.shape)
        return cls(part, (x, y, z))

    def place(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Lay mask voxels (T, V) into the padded box, zero elsewhere: (T, x, y, z)."""
        return functional.pad(
            self.brain.place(values_TV), [n for p in reversed(self.pad) for n in (0, p)]
        )

    def pick(self, volume: torch.Tensor) -> torch.Tensor:
        """Take the mask voxels (..., V) out of a padded box (..., x, y, z)."""
        x, y, z = self.brain.mask.shape
        return self.brain.pick(volume[..., :x, :y, :z])


class BoxSpline:
    """Spline from the input's mask voxels to the output's box, edges carried outwards.

    Parameters
    ----------
    box, box_out : Box
        Of the input and of the output.
    """

    def __init__(self, box: Box, box_out: Box) -> None:
        self.source, self.target = box.brain.grid, box_out.brain.grid
        self._nearest = torch.as_tensor(nearest_in_mask(box.brain.mask).ravel())

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Take values (T, V) to the output's box, (T, X, Y, Z), none below zero."""
        return self.signed(values_TV).clamp_min(0)

    def signed(self, values_TV: torch.Tensor) -> torch.Tensor:
        """The same of values that may be below zero."""
        extended = values_TV[:, self._nearest.to(values_TV.device)]
        volumes = extended.unflatten(1, self.source.shape)
        return interpolate(volumes, self.source, self.target)
