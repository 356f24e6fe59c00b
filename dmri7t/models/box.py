"""The part of an image that networks see."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch.nn import functional

from dmri7t.signal.grids import Grid
from dmri7t.signal.resample import bounding_box, extend, interpolate

MARGIN = 2
"""Voxels kept around the mask."""


@attrs.frozen
class Box:
    """Part of an image that networks see: the mask's surroundings, padded to whole latents.

    Parameters
    ----------
    start, stop : tuple of int (3,)
        Within the image.
    pad : tuple of int (3,)
        Zeros added behind the last voxel of each axis.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    pad: tuple[int, int, int]

    @classmethod
    def around(cls, mask_XYZ: np.ndarray, multiple: int = 1) -> Box:
        """Box around a mask whose edges are multiples of a number."""
        start, stop = bounding_box(mask_XYZ, MARGIN)
        x, y, z = (-(b - a) % multiple for a, b in zip(start, stop, strict=True))
        return cls(start, stop, (x, y, z))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the part within the image."""
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    def place(self, values_TV: torch.Tensor, mask_XYZ: np.ndarray) -> torch.Tensor:
        """Lay mask voxels (T, V) into the padded box, zero elsewhere: (T, x, y, z)."""
        inside = torch.as_tensor(mask_XYZ[self.slices], device=values_TV.device)
        volume = values_TV.new_zeros(values_TV.shape[0], *inside.shape)
        volume[:, inside] = values_TV
        return functional.pad(volume, [n for p in reversed(self.pad) for n in (0, p)])

    def pick(self, volume: torch.Tensor, mask_XYZ: np.ndarray) -> torch.Tensor:
        """Take the mask voxels (..., V) out of a padded box (..., x, y, z)."""
        inside = torch.as_tensor(mask_XYZ[self.slices], device=volume.device)
        x, y, z = inside.shape
        return volume[..., :x, :y, :z][..., inside]


class BoxSpline:
    """Spline from the input's mask voxels to the output's box, edges carried outwards.

    Parameters
    ----------
    mask_XYZ : ndarray of bool
        Of the input.
    box, grid
        Of the input.
    box_out, grid_out
        Of the output.
    """

    def __init__(
        self, mask_XYZ: np.ndarray, box: Box, grid: Grid, box_out: Box, grid_out: Grid
    ) -> None:
        self.inside = mask_XYZ[box.slices]
        self.source = grid.crop(box.start, box.stop)
        self.target = grid_out.crop(box_out.start, box_out.stop)

    def __call__(self, values_TV: torch.Tensor) -> torch.Tensor:
        """Take values (T, V) to the output's box, (T, X, Y, Z), none below zero."""
        return interpolate(extend(values_TV, self.inside), self.source, self.target).clamp_min(0)
