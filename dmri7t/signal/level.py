"""A model's image held to what the scan shows: detail may differ, what a scanner sees may not.

A model that sharpens should not move what a scan measures well. What the result lacks of the scan
at the scan's own resolution is added to it, twice: Landweber's iteration, known for images as
iterative back-projection (Irani & Peleg 1991, CVGIP 53:231). Held so, a lesion keeps its
contrast, whatever healthy tissue looked like in the model's training.

Where the signal lies in the noise's floor a scan measures the floor alone, and holds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dmri7t.signal.floor import RAYLEIGH
from dmri7t.signal.gaussian import Averages

WIDTH = 1.5
"""Full width at half maximum, in voxels of the scan, of what is called its resolution."""

PASSES = 2
"""How often what is lacking is added: of what the average halves, 0.75 is then the scan's."""

SHARPNESS = 8
"""Power by which trust falls below the floor."""


def trust(mean_V: torch.Tensor, sigma_V: torch.Tensor) -> torch.Tensor:
    """How far mean signals are told from the floor of their noise: 0 to 1, a half at it.

    Parameters
    ----------
    mean_V : Tensor (V,)
        Mean of the signals over directions.
    sigma_V : Tensor (V,)
        Standard deviation of their noise, same units.

    Examples
    --------
    >>> found_V = trust(torch.tensor([0.6, 1.2533, 2.5, 1.0]), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    >>> [round(value, 2) for value in found_V.tolist()]
    [0.0, 0.5, 1.0, 1.0]
    """
    floor_V = (RAYLEIGH * sigma_V) ** SHARPNESS
    signal_V = mean_V.clamp_min(0) ** SHARPNESS
    return signal_V / (signal_V + floor_V).clamp_min(torch.finfo(signal_V.dtype).tiny)


def hold_level(
    image: torch.Tensor,
    scan: torch.Tensor,
    trust: torch.Tensor,
    inside: torch.Tensor,
    coarser: Sequence[float] | np.ndarray,
) -> torch.Tensor:
    """Add to an image what it lacks of the scan at the scan's resolution.

    Parameters
    ----------
    image, scan : Tensor (X, Y, Z)
        Not negative; the scan interpolated to the image's grid.
    trust : Tensor (X, Y, Z)
        How far the scan is to be trusted, 0 to 1.
    inside : Tensor (X, Y, Z) of bool
        What lies outside takes no part.
    coarser : sequence of three floats
        Voxel sizes of the scan over those of the grid.

    Returns
    -------
    Tensor (X, Y, Z)
        Zero outside.
    """
    sds = np.asarray(coarser) * WIDTH / (2 * math.sqrt(2 * math.log(2)))
    average = Averages(inside, sds)
    for _ in range(PASSES):
        image = image + average(trust * (scan - image))
    return torch.where(inside, image.clamp_min(0), 0.0)
