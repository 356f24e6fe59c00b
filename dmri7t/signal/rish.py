"""Rotation-invariant spherical harmonic (RISH) features and what is done with them.

R_l = sum over m of c_lm squared (Mirzaalian et al. 2016, NeuroImage 135:311): the energy of
the signal in order l, the same however the head or the gradients are turned.
"""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan, order_of
from dmri7t.signal.orders import ORDERS

LOWER, UPPER = 0.05, 4.0
"""Bounds of sqrt(R7 / R3). The upper one keeps noise from being blown up where R3 is nearly zero;
the lower one lies far down, because order 4 of a scan with few directions is nearly all noise.
"""


def rish(sh_CV: torch.Tensor) -> torch.Tensor:
    """Sum the squared coefficients of each even order.

    Parameters
    ----------
    sh_CV : Tensor (C, V)

    Returns
    -------
    Tensor (L, V), L = order / 2 + 1.

    Examples
    --------
    >>> rish(torch.tensor([2.0, 1.0, 0.0, 0.0, 0.0, 3.0])[:, None]).flatten().tolist()
    [4.0, 10.0]
    """
    order = order_of(sh_CV.shape[0])
    sizes = [2 * n + 1 for n in range(0, order + 1, 2)]
    return torch.stack([part.square().sum(0) for part in sh_CV.split(sizes)])


def noise_share(plan: FitPlan, sigma_V: torch.Tensor) -> torch.Tensor:
    """Expected contribution of white noise to each RISH feature.

    E[R_l] = R_l + sigma^2 sum over m and n of P_(lm)n squared, P the fit's matrix.

    Parameters
    ----------
    plan : FitPlan
    sigma_V : Tensor (V,)
        Standard deviation of the noise in units of the b0.

    Returns
    -------
    Tensor (L, V)
    """
    noise_L = torch.as_tensor(plan.noise_L, dtype=sigma_V.dtype, device=sigma_V.device)
    return noise_L[:, None] * sigma_V.square()[None]


def debias(rish_LV: torch.Tensor, noise_LV: torch.Tensor) -> torch.Tensor:
    """Subtract the noise's expected share, (L, V), never below zero."""
    return (rish_LV - noise_LV).clamp_min(0)


def scale_factors(
    rish3_LV: torch.Tensor, rish7_LV: torch.Tensor, lower: float = LOWER, upper: float = UPPER
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors that bring the coefficients of a 3T scan to generated RISH.

    sqrt(R7_l / R3_l), held between bounds because the ratio means nothing where R3 is nearly
    zero.

    Parameters
    ----------
    rish3_LV, rish7_LV : Tensor (L, V)
        Of the very coefficients that will be scaled, and generated.
    lower, upper : float
        Bounds of the factor.

    Returns
    -------
    factor_LV : Tensor (L, V)
    bounded_L : Tensor (L,)
        Fraction of voxels where a bound was met.

    Examples
    --------
    >>> factor, bounded = scale_factors(torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0, 100.0]]))
    >>> factor.tolist(), bounded.tolist()
    ([[2.0, 4.0]], [0.5])
    """
    tiny = torch.finfo(rish3_LV.dtype).tiny
    ratio_LV = (rish7_LV.clamp_min(0) / rish3_LV.clamp_min(tiny)).sqrt()
    bounded_L = ((ratio_LV < lower) | (ratio_LV > upper)).double().mean(1)
    return ratio_LV.clamp(lower, upper), bounded_L


def harmonize(sh_CV: torch.Tensor, factor_LV: torch.Tensor) -> torch.Tensor:
    """Scale coefficients order by order; orders without a factor pass as they are.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
    factor_LV : Tensor (L, V)

    Returns
    -------
    Tensor (C, V)

    Examples
    --------
    >>> sh = torch.ones(6, 1)
    >>> harmonize(sh, torch.tensor([[2.0]])).flatten().tolist()
    [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    order = order_of(sh_CV.shape[0])
    parts = sh_CV.split([2 * n + 1 for n in range(0, order + 1, 2)])
    n_scaled = min(len(parts), factor_LV.shape[0])
    scaled = [parts[i] * factor_LV[i] for i in range(n_scaled)]
    return torch.cat([*scaled, *parts[n_scaled:]])


def model_rows(values_LV: torch.Tensor | np.ndarray, n_orders: int = len(ORDERS)) -> torch.Tensor:
    """Exactly ``n_orders`` rows (n_orders, V): higher ones cut, missing ones zero."""
    values_LV = torch.as_tensor(values_LV)
    if values_LV.shape[0] >= n_orders:
        return values_LV[:n_orders]
    missing = values_LV.new_zeros(n_orders - values_LV.shape[0], *values_LV.shape[1:])
    return torch.cat([values_LV, missing])
