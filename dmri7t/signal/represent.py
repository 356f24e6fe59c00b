"""From the volumes of one shell to harmonics of S / S0 and the level of its noise."""

from __future__ import annotations

import math

import torch

from dmri7t.signal.harmonics import FitPlan, fit

B0_FLOOR = 0.25
"""Lowest b0 that is divided by, as a fraction of the median b0 in the mask."""

CEILING = 2.0
"""Largest S / S0 that is believed; more is a flaw of the scan."""


def floor_b0(b0_V: torch.Tensor) -> torch.Tensor:
    """Hold a mean b0 image (V,) above a quarter of its median, so that S / S0 stays sane."""
    return b0_V.clamp_min(B0_FLOOR * b0_V.median())


MEAN_SIGNAL = math.sqrt(4 * math.pi)
"""The coefficient of order 0 over the mean signal."""


def mean_signal(sh_CV: torch.Tensor, b0_V: torch.Tensor) -> torch.Tensor:
    """Mean of the signals over directions, (V,), in units of the scanner.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Of S / S0, S0 being ``b0_V``, floored.
    b0_V : Tensor (V,)
    """
    return sh_CV[0] / MEAN_SIGNAL * floor_b0(b0_V)


def scanner_noise(sigma_V: torch.Tensor, b0_V: torch.Tensor) -> float:
    """Standard deviation of a shell's noise in units of the scanner.

    Parameters
    ----------
    sigma_V : Tensor (V,)
        Over the floored mean b0.
    b0_V : Tensor (V,)
    """
    return float((sigma_V * floor_b0(b0_V)).median())


SLAB = 16384
"""Voxels that are fitted at once: what is worked on stays in the processor's cache."""


def normalize(signal_NV: torch.Tensor, b0_V: torch.Tensor) -> torch.Tensor:
    """Divide signals (N, V) by the floored b0 (V,), within 0 and :data:`CEILING`."""
    return _within(signal_NV, floor_b0(b0_V))


def fit_normalized(signal_NV: torch.Tensor, b0_V: torch.Tensor, plan: FitPlan) -> torch.Tensor:
    """Fit coefficients (C, V) to signals over their b0, which are never held as a whole.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
    b0_V : Tensor (V,)
    plan : FitPlan
    """
    divisor_V = floor_b0(b0_V)
    sh_CV = signal_NV.new_empty(len(plan.matrix_CN), signal_NV.shape[1])
    for first in range(0, signal_NV.shape[1], SLAB):
        slab = slice(first, first + SLAB)
        sh_CV[:, slab] = fit(_within(signal_NV[:, slab], divisor_V[slab]), plan)
    return sh_CV


def _within(signal_NV: torch.Tensor, divisor_V: torch.Tensor) -> torch.Tensor:
    return (signal_NV / divisor_V).clamp_(0, CEILING)


def residual_sigma(signal_NV: torch.Tensor, b0_V: torch.Tensor, plan: FitPlan) -> float:
    """Noise of the raw signal, one number for the whole scan, from the residuals of the fit.

    Residuals are those in the units of the scanner, where the noise is the same in every voxel
    (that of S / S0 is not), of signals within the ceiling of :func:`normalize`; the median over
    voxels of their sum of squares is taken, so that vessels and edges do not count. Of many
    voxels every so many-th is looked at.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
    b0_V : Tensor (V,)
    plan : FitPlan

    Returns
    -------
    float
        In units of the b0 image.
    """
    step = max(1, signal_NV.shape[1] // 50_000)
    divisor_V = floor_b0(b0_V)[::step]
    sample_NV = _within(signal_NV[:, ::step], divisor_V) * divisor_V
    residual_NN = torch.as_tensor(plan.residual_NN, dtype=sample_NV.dtype, device=sample_NV.device)
    power_V = (residual_NN @ sample_NV).square().sum(0) / plan.residual_dof
    # the median of chi-square with k degrees of freedom is about k (1 - 2 / 9 k)^3
    median_to_mean = (1 - 2 / (9 * max(plan.residual_dof, 1.0))) ** 3
    return float((power_V.median() / median_to_mean).sqrt())
