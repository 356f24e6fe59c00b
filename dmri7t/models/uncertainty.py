"""How far generated RISH may be off: a spread of samples, calibrated on simulated subjects.

The spread of a diffusion model's samples tells where they disagree, not how large an error is:
all of them may miss what the scan does not show. What errors follow from besides (noise, fine
detail, the signal itself) is known in every voxel; the variance of the error is a sum of these
with weights that were fitted where the truth was known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dmri7t.signal.coherence import smooth
from dmri7t.signal.cone import cone_angle

TERMS = ("constant", "spread", "noise", "signal", "detail")
"""What the variance of a root's error is a weighted sum of, see :func:`terms`."""

Z90 = 1.6449
"""An interval of plus and minus this many standard deviations holds 90 % of a normal variable."""


def terms(
    root: torch.Tensor, spread: torch.Tensor, noise: torch.Tensor, inside: torch.Tensor
) -> torch.Tensor:
    """What errors follow from, voxel by voxel.

    Parameters
    ----------
    root : Tensor (3, X, Y, Z)
        Estimate, scaled roots of RISH.
    spread : Tensor (3, X, Y, Z)
        Standard deviation of the samples' scaled roots.
    noise : Tensor (3, X, Y, Z)
        Scaled root of the noise's share of the input's RISH.
    inside : Tensor (X, Y, Z) bool
        The mask.

    Returns
    -------
    Tensor (5, 3, X, Y, Z), squares, in the order of :data:`TERMS`.
    """
    weight = smooth(inside.to(root)[None]).clamp_min(1e-6)
    detail = root - smooth(root * inside) / weight
    parts = [torch.ones_like(root), spread, noise, root, detail]
    return torch.stack([part.square() for part in parts])


def root_sd(terms_KV: torch.Tensor, weights: Sequence[Sequence[float]]) -> torch.Tensor:
    """Standard deviation of the error of scaled roots.

    Parameters
    ----------
    terms_KV : Tensor (5, 3, ...)
        From :func:`terms`.
    weights : sequence of three times five floats
        Of the model's calibration, for R0, R2 and R4.

    Returns
    -------
    Tensor (3, ...)
    """
    weights_LK = torch.tensor(weights, device=terms_KV.device)
    return torch.einsum("lk,kl...->l...", weights_LK, terms_KV).clamp_min(0).sqrt()


def rish_sd(root: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
    """Carry the standard deviation of roots over to their squares.

    Half the width of the 90 % interval of the square, over 1.645: correct also where the
    interval of the root reaches below zero.

    Parameters
    ----------
    root, sd : Tensor

    Examples
    --------
    >>> rish_sd(torch.tensor([10.0]), torch.tensor([0.1])).round(decimals=4).tolist()
    [2.0]
    """
    reach = Z90 * sd
    return ((root + reach).square() - (root - reach).clamp_min(0).square()) / (2 * Z90)


def direction_cone(
    order2_5V: torch.Tensor, terms_KV: torch.Tensor, weights: Sequence[float]
) -> torch.Tensor:
    """Half the opening of cones that hold the principal direction (:mod:`dmri7t.signal.cone`).

    Parameters
    ----------
    order2_5V : Tensor (5, V)
        Coefficients of order 2, over the scale of R2.
    terms_KV : Tensor (5, V)
        From :func:`terms`, of R2.
    weights : sequence of five floats
        What the expected squared error of the five together is made of.

    Returns
    -------
    Tensor (V,), degrees.
    """
    weights_K = torch.tensor(weights, device=terms_KV.device, dtype=terms_KV.dtype)
    return cone_angle(order2_5V, weights_K @ terms_KV / len(order2_5V))


def anisotropy_sd(
    fa: torch.Tensor, rish: torch.Tensor, sd: torch.Tensor, bval: float
) -> torch.Tensor:
    """Carry the errors of R_0 and R_2 over to fractional anisotropy, to first order.

    With q = FA^2 / (3 / 2 - FA^2), the deviator's share of a tensor's norm: order 2 scales the
    deviator, order 0 divides it and moves the mean diffusivity by 1 / b.

    Parameters
    ----------
    fa : Tensor (V,)
    rish, sd : Tensor (3, V)
        RISH of S / S0 and the standard deviations of their errors.
    bval : float
        s/mm2.

    Returns
    -------
    Tensor (V,)
    """
    # relative errors of the amplitudes, half of those of their squares; all is lost at 1
    relative = (sd / (2 * rish.clamp_min(1e-9))).clamp_max(1.0)
    mean_signal = (rish[0] / (4 * torch.pi)).sqrt().clamp(1e-3, 0.999)
    exponent = -mean_signal.log().clamp_max(-0.05)
    q = fa.square() / (1.5 - fa.square()).clamp_min(0.1)
    log_sd = torch.hypot(2 * relative[1], 2 * relative[0] * (1 / exponent - 1))
    return fa / (2 * (1 + q)) * log_sd
