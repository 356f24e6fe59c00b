"""How sure a principal direction is: the cone that holds the true one.

An error of the coefficients of order 2 turns the principal direction v1 towards the two others.
To first order, with the eigenvalues q1 < q2 < q3 of the quadratic form Q (see
:mod:`dmri7t.signal.principal`) and an error dQ, v1 moves by v_k^T dQ v1 / (q1 - q_k) along v_k
(Jones 2003, Magn Reson Med 49:7, for the tensor). Where the gap to the next eigenvalue is small,
at crossings and in grey matter, the cone is wide.
"""

from __future__ import annotations

import math

import torch

from dmri7t.signal.principal import quadratic_forms

LEVEL = 0.95
"""Part of the true directions that cones hold."""

ONE_SIDED, ROUND = 3.8415, 2.9957
"""The square of what holds this part of a normal variable, and of a round pair of them over two:
quantiles of chi-square of one and two degrees of freedom, over their number."""


def cone_angle(order2_5V: torch.Tensor, variance_V: torch.Tensor) -> torch.Tensor:
    """Half the opening of the cone that holds the true principal direction.

    Parameters
    ----------
    order2_5V : Tensor (5, V)
        Coefficients of order 2.
    variance_V : Tensor (V,)
        Of the error of each of the five, in the same units squared.

    Returns
    -------
    Tensor (V,), degrees, below 90; near 90 nothing is known of the direction.
    """
    low_V, middle_V, high_V = _eigenvalues(order2_5V)
    # an element off the diagonal has half of the variance of a coefficient, in units of Q
    spread_V = variance_V.to(low_V) * _norm() / 2
    tiny = torch.finfo(low_V.dtype).tiny
    sides_2V = torch.stack([middle_V - low_V, high_V - low_V]).square().clamp_min(tiny)
    squares_2V = spread_V / sides_2V
    total_V = squares_2V.sum(0)
    # a sum of two squares of unlike spread is like a chi-square of this many degrees of freedom
    share_V = squares_2V.amax(0) / total_V.clamp_min(tiny)
    freedom_V = 1 / (share_V.square() + (1 - share_V).square())
    quantile_V = ONE_SIDED + (ROUND - ONE_SIDED) * (freedom_V - 1)
    return torch.rad2deg(torch.atan((quantile_V * total_V).sqrt()))


def _norm() -> float:
    """Squared norm of the matrix of a basis function of order 2; that of all five is the same."""
    return float(quadratic_forms()[0].square().sum())


def _eigenvalues(order2_5V: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Eigenvalues (V,) of Q, the lowest first, by the trigonometric formula: Q has no trace."""
    forms = quadratic_forms().to(order2_5V)
    xx, yy, zz, xy, xz, yz = (
        torch.einsum("cv,c->v", order2_5V, forms[:, i, j])
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    )
    size_V = (order2_5V.square().sum(0) * _norm() / 6).sqrt()
    determinant_V = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    cosine_V = determinant_V / (2 * size_V**3).clamp_min(torch.finfo(size_V.dtype).tiny)
    angle_V = torch.acos(cosine_V.clamp(-1, 1)) / 3
    high_V = 2 * size_V * torch.cos(angle_V)
    low_V = 2 * size_V * torch.cos(angle_V + 2 * math.pi / 3)
    return low_V, -high_V - low_V, high_V
