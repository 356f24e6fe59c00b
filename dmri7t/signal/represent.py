"""From the volumes of one shell to harmonics of S / S0 and the level of its noise."""

from __future__ import annotations

import torch

from dmri7t.signal.harmonics import FitPlan

B0_FLOOR = 0.25
"""Lowest b0 that is divided by, as a fraction of the median b0 in the mask."""

CEILING = 2.0
"""Largest S / S0 that is believed; more is a flaw of the scan."""


def floor_b0(b0_V: torch.Tensor) -> torch.Tensor:
    """Hold a mean b0 image (V,) above a quarter of its median, so that S / S0 stays sane."""
    return b0_V.clamp_min(B0_FLOOR * b0_V.median())


def normalize(signal_NV: torch.Tensor, b0_V: torch.Tensor) -> torch.Tensor:
    """Divide signals (N, V) by the floored b0 (V,), within 0 and :data:`CEILING`."""
    return (signal_NV / floor_b0(b0_V)).clamp(0, CEILING)


def residual_sigma(normalized_NV: torch.Tensor, b0_V: torch.Tensor, plan: FitPlan) -> float:
    """Noise of the raw signal, one number for the whole scan, from the residuals of the fit.

    Residuals are brought back to the units of the scanner, where the noise is the same in
    every voxel (that of S / S0 is not), and the median over voxels of their sum of squares is
    taken, so that vessels and edges do not count.

    Parameters
    ----------
    normalized_NV : Tensor (N, V)
    b0_V : Tensor (V,)
    plan : FitPlan

    Returns
    -------
    float
        In units of the b0 image.
    """
    step = max(1, normalized_NV.shape[1] // 50_000)
    sample_NV = normalized_NV[:, ::step] * floor_b0(b0_V)[::step]
    residual_NN = torch.as_tensor(plan.residual_NN, dtype=sample_NV.dtype, device=sample_NV.device)
    power_V = (residual_NN @ sample_NV).square().sum(0) / plan.residual_dof
    # the median of chi-square with k degrees of freedom is about k (1 - 2 / 9 k)^3
    median_to_mean = (1 - 2 / (9 * max(plan.residual_dof, 1.0))) ** 3
    return float((power_V.median() / median_to_mean).sqrt())
