"""The mean b0 without its noise.

Signals are divided by it in the end, and a scan may have one b0 alone. It is filtered by its
finest band, as coefficients are (:mod:`dmri7t.signal.filter`): its noise is that of the shell's
volumes over the number of b0s, unless the b0 itself is smoother than that noise would leave it.
Scanners average b0s before they store them.
"""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.neighbourhood import ENERGY_PASSES, Neighbourhood

SMOOTHEST = 0.01
"""Share of the voxels by which it is told how little noise a b0 has: the smoothest ones."""

SMOOTHEST_ENERGY = 0.65
"""Energy of the fine band of nothing but noise there, over its mean: averages over the
surroundings of a voxel scatter so far."""

SURROUNDINGS = 4
"""Smoothings of those averages."""


def filter_b0(b0_V: torch.Tensor, fine_noise_V: torch.Tensor, space: Neighbourhood) -> torch.Tensor:
    """Take out of a mean b0 what its finest band has of noise.

    Parameters
    ----------
    b0_V : Tensor (V,)
    fine_noise_V : Tensor (V,)
        Covariance of its noise with that band, as the volumes of a shell have it: see
        :class:`~dmri7t.signal.band_noise.BandNoise`. It is taken to be smaller where the smoothest
        parts of the b0 have less.
    space : Neighbourhood

    Returns
    -------
    Tensor (V,)
        Between the b0 and its average over the neighbours.
    """
    fine_V = b0_V - space.smooth(b0_V)
    power_V = fine_V.square()
    energy_V = space.smooth(power_V, ENERGY_PASSES)
    tiny = torch.finfo(b0_V.dtype).tiny
    over_V = space.smooth(power_V, SURROUNDINGS) / fine_noise_V.clamp_min(tiny)
    smoothest = float(np.quantile(over_V.cpu().numpy(), SMOOTHEST))
    believed = min(1.0, smoothest / SMOOTHEST_ENERGY)
    weight_V = (believed * fine_noise_V / energy_V.clamp_min(tiny)).clamp(0, 1)
    return b0_V - weight_V * fine_V
