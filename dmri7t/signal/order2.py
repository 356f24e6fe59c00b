"""Order 2 filtered by weights that differ between the directions in which it varies.

One weight u for all coefficients of an order takes as much of what neighbours share as of what they
do not. Along a bundle the five coefficients of order 2 differ from their neighbours' in few
directions of their space, and noise differs in all. So the weight of the fine band d is a matrix,

    U = u (u I + (1 - u) D / t)^-1,    t = trace(D) / 5,

with D the mean of d d' around a voxel, in units in which the noise is alike in all directions, and
u the weight that takes all of them alike. It is the Wiener filter of a signal that is spread over
the directions as d is: where D is the same in all of them, U is u; as u nears 1, where nearly all
is noise and D tells little of the signal, so does U. D turns with head and gradients, and U does.
"""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan
from dmri7t.signal.neighbourhood import Neighbourhood
from dmri7t.signal.order4 import ORDER_2

SPREAD_PASSES = 4
"""Smoothings of the products that D is made of: over some seven voxels an axis."""

SLAB = 16384
"""Voxels that are solved at once: what is worked on stays in the processor's cache."""

RIDGE = 1e-4
"""Added to what is inverted: a band may vary in fewer than five directions."""


def take_fine_band(
    band_5V: torch.Tensor, weight_V: torch.Tensor, plan: FitPlan, space: Neighbourhood
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is to be taken out of order 2, and what part of its noise that is.

    Parameters
    ----------
    band_5V : Tensor (5, V)
        Its fine band, in scanner units.
    weight_V : Tensor (V,)
        What part of the band is taken out if all directions are alike, 0 to 1.
    plan : FitPlan
        Of the fit: it tells how noise is spread over the coefficients.
    space : Neighbourhood

    Returns
    -------
    taken : Tensor (5, V)
    part : Tensor (V,)
        Mean of the weights over the directions, 0 to 1.
    """
    white_55, coloured_55 = (torch.from_numpy(m).to(band_5V) for m in _whitening(plan))
    white_5V = white_55 @ band_5V
    spread = {
        (i, j): space.smooth(white_5V[i] * white_5V[j], SPREAD_PASSES)
        for i in range(5)
        for j in range(i + 1)
    }
    part_V = torch.empty_like(weight_V)
    for first in range(0, len(weight_V), SLAB):
        slab = slice(first, first + SLAB)
        # half of a symmetric matrix is enough: the other one is never read
        spread_55V = white_5V.new_zeros(5, 5, len(weight_V[slab]))
        for place, values_V in spread.items():
            spread_55V[place] = values_V[slab]
        solved_5V, trace_V = _solve(_matrix(spread_55V, weight_V[slab]), white_5V[:, slab])
        white_5V[:, slab] = solved_5V * weight_V[slab]
        part_V[slab] = trace_V / 5 * weight_V[slab]
    return coloured_55 @ white_5V, part_V.clamp_(0, 1)


def _matrix(spread_55V: torch.Tensor, weight_V: torch.Tensor) -> torch.Tensor:
    """u I + (1 - u) D / t, (5, 5, V), its lower half."""
    mean_V = spread_55V.diagonal().mean(1)
    matrix_55V = spread_55V * ((1 - weight_V) / mean_V.clamp_min(torch.finfo(mean_V.dtype).tiny))
    matrix_55V.diagonal().add_((weight_V + RIDGE)[:, None])
    return matrix_55V


def _solve(matrix_55V: torch.Tensor, side_5V: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve positive systems, the lower half (5, 5, V) given, and trace (V,) their inverses.

    By Cholesky's factors, for all voxels at once: a library's solver takes one after the other, and
    ten times as long.
    """
    factor_55V = torch.zeros_like(matrix_55V)
    # the inverse of the factor, row by row
    inverse_55V = torch.zeros_like(matrix_55V)
    for j in range(5):
        known_jV = factor_55V[j, :j]
        root_V = (matrix_55V[j, j] - known_jV.square().sum(0)).clamp_min(RIDGE).sqrt()
        factor_55V[j, j] = root_V
        for i in range(j + 1, 5):
            rest_V = matrix_55V[i, j] - (factor_55V[i, :j] * known_jV).sum(0)
            factor_55V[i, j] = rest_V / root_V
        inverse_55V[j, j] = 1 / root_V
        for k in range(j):
            inverse_55V[j, k] = -(known_jV[k:] * inverse_55V[k:j, k]).sum(0) / root_V
    halfway_5V = (inverse_55V * side_5V).sum(1)
    solved_5V = (inverse_55V * halfway_5V[:, None]).sum(0)
    return solved_5V, inverse_55V.square().sum((0, 1))


def _whitening(plan: FitPlan) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (5, 5) to coefficients whose noise is alike in all directions, and back."""
    rows_5N = plan.matrix_CN[ORDER_2]
    covariance_55 = rows_5N @ rows_5N.T
    coloured_55 = np.linalg.cholesky(covariance_55 / covariance_55.diagonal().mean())
    return np.linalg.inv(coloured_55), coloured_55
