"""From the volumes of one shell to what the model sees: harmonics, RISH and their noise."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan, fit, plan_fit
from dmri7t.signal.rish import model_rows, noise_share, rish

B0_FLOOR = 0.25
"""Lowest b0 that is divided by, as a fraction of the median b0 in the mask."""

CEILING = 2.0
"""Largest S / S0 that is believed; more is a flaw of the scan."""


@attrs.frozen(eq=False)
class Representation:
    """What one shell says about every voxel.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Gain-corrected coefficients of S / S0.
    rish_LV : Tensor (3, V)
        R_0, R_2, R_4 of these coefficients; a zero row where the order was not fitted.
    noise_LV : Tensor (3, V)
        The noise's expected share of each.
    sigma_V : Tensor (V,)
        Standard deviation of the noise over the b0.
    plan : FitPlan
    """

    sh_CV: torch.Tensor
    rish_LV: torch.Tensor
    noise_LV: torch.Tensor
    sigma_V: torch.Tensor
    plan: FitPlan


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


def represent(
    signal_NV: torch.Tensor,
    b0_V: torch.Tensor,
    directions_N3: np.ndarray,
    n_b0: int = 1,
    order: int | None = None,
    laplace_beltrami: float | None = None,
) -> Representation:
    """Represent one shell.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Volumes of the shell in scanner units, mask voxels only.
    b0_V : Tensor (V,)
        Mean b0.
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    n_b0 : int
        How many b0 volumes the mean is made of: its own noise is part of sigma.
    order, laplace_beltrami
        See :func:`dmri7t.signal.harmonics.plan_fit`.
    """
    plan = plan_fit(directions_N3, order, laplace_beltrami)
    normalized_NV = normalize(signal_NV, b0_V)
    sh_CV = fit(normalized_NV, plan)
    sigma = residual_sigma(normalized_NV, b0_V, plan)
    sigma_V = (sigma / floor_b0(b0_V)).clamp_max(1.0)
    noise_LV = noise_share(plan, sigma_V)
    rish_LV = rish(sh_CV)
    # noise of the divisor scales all coefficients of a voxel together: relative variance
    # sigma^2 / n_b0 of every R_l's amplitude, and as much again of its expectation
    noise_LV = noise_LV + rish_LV * (sigma_V.square() / max(n_b0, 1))
    return Representation(
        sh_CV=sh_CV,
        rish_LV=model_rows(rish_LV),
        noise_LV=model_rows(noise_LV),
        sigma_V=sigma_V,
        plan=plan,
    )
