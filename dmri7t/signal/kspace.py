"""Coarser scans: k-space cropped, as a scanner with less time would have filled it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dmri7t.signal.grids import Grid


def crop_kspace(volume_XYZ: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Keep the lowest frequencies of volumes (..., X, Y, Z): a coarser grid of this shape.

    Its first voxel's centre is the old one's, and the mean is kept.
    """
    spectrum = torch.fft.fftn(volume_XYZ.double(), dim=(-3, -2, -1))
    for axis, n in zip((-3, -2, -1), shape, strict=True):
        old = spectrum.shape[axis]
        if n == old:
            continue
        # frequencies from -(n // 2) on; for even n the lone highest one is dropped
        low = (n - 1) // 2
        kept = [*range(low + 1), *range(old - low, old)]
        part = spectrum.index_select(axis, torch.tensor(kept))
        if len(kept) < n:
            zero = part.narrow(axis, 0, 1) * 0
            parts = [part.narrow(axis, 0, low + 1), zero, part.narrow(axis, low + 1, low)]
            part = torch.cat(parts, axis)
        spectrum = part * (n / old)
    return torch.fft.ifftn(spectrum, dim=(-3, -2, -1)).real.float()


def coarser(grid: Grid, factor: float) -> Grid:
    """Grid that a k-space cropped by a factor along each axis has."""
    shape = tuple(max(round(n / factor), 1) for n in grid.shape)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * (np.array(grid.shape) / np.array(shape))
    return Grid(shape, affine)
