"""The local level of an image held to that of another: detail may differ, means may not.

A model that sharpens should not move what a scan measures well: the mean signal over a few
millimetres, which blur leaves as it is. Held so, a lesion keeps its contrast, whatever healthy
tissue looked like in the model's training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from dmri7t.signal.coherence import smooth

BLOCK = 3.0
"""Edge in mm of the blocks over which means are taken before they are smoothed once: together a
full width at half maximum of 6 mm. Narrower ones keep more of the contrast of small lesions, and
leave a model less to sharpen."""


def hold_level(
    image: torch.Tensor,
    other: torch.Tensor,
    inside: torch.Tensor,
    voxel_sizes: Sequence[float] | np.ndarray,
) -> torch.Tensor:
    """Multiply an image by a slowly varying factor, so that its local means are another's.

    Parameters
    ----------
    image, other : Tensor (X, Y, Z)
        Not negative.
    inside : Tensor (X, Y, Z) of bool
        What lies outside takes no part.
    voxel_sizes : sequence of three floats
        mm.

    Returns
    -------
    Tensor (X, Y, Z)
        Zero outside.
    """
    edges = [max(1, round(BLOCK / size)) for size in voxel_sizes]
    sums = [_block_means(torch.where(inside, v, 0.0), edges) for v in (image, other)]
    tiny = torch.finfo(image.dtype).tiny
    ratio = torch.where(sums[0] > tiny, sums[1] / sums[0].clamp_min(tiny), 1.0)
    shape = [n * edge for n, edge in zip(ratio.shape, edges, strict=True)]
    factor = functional.interpolate(ratio[None, None], shape, mode="trilinear")[0, 0]
    x, y, z = image.shape
    return torch.where(inside, image * factor[:x, :y, :z], 0.0)


def _block_means(image: torch.Tensor, edges: Sequence[int]) -> torch.Tensor:
    """Means over blocks, smoothed; the last ones reach beyond the image, into nothing."""
    x, y, z = (-n % edge for n, edge in zip(image.shape, edges, strict=True))
    padded = functional.pad(image, (0, z, 0, y, 0, x))
    return smooth(functional.avg_pool3d(padded[None], list(edges))[0])
