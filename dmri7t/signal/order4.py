"""Order 4 as order 2 foretells it.

A bundle that is alike all around its axis shows that axis in order 2 and in order 4: the one
tells the other but for a factor, which hangs on the b-value and the tissue and so varies slowly.
With f the function on the sphere that the coefficients of order 2 make, and [ ]_4 the part of
order 4 of a function::

    c_4 = beta [f^2]_4 / |c_2| + rest

The product is made of rotation invariants and harmonics, so the estimate turns with the head
(it is the coupling of two harmonics of order 2 to one of order 4; Varshalovich et al. 1988,
Quantum theory of angular momentum, ch. 5). For Gaussian diffusion along sticks beta is 0.51 at
b D = 1 and 0.97 at b D = 2.

The factor is measured on the scan: by least squares over the surroundings of a voxel, from the
fitted coefficients of order 4 or, where directions are too few to fit these, from what the fit of
lower orders leaves. Order 4 shows there, and is what it gets wrong: it leaks into order 2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from dmri7t.signal.harmonics import basis_matrix, n_coefficients
from dmri7t.signal.neighbourhood import Neighbourhood

ORDER_2 = slice(n_coefficients(0), n_coefficients(2))
ORDER_4 = slice(n_coefficients(2), n_coefficients(4))

PASSES = 8
"""Smoothings of the sums that the factor is the ratio of: over about ten voxels an axis."""

NEIGHBOURS = 355
"""Voxels that such a mean is worth, for noise that is white."""

VARIES = 0.3
"""Standard deviation of the factor over a brain: where noise hides it, it is the brain's."""

MOST = 2.0
"""Largest factor: that of sticks at b D = 5."""


def foretell_order4(
    order2_5V: torch.Tensor,
    seen_KV: torch.Tensor,
    design_K9: torch.Tensor | None,
    variance_V: torch.Tensor,
    space: Neighbourhood,
) -> torch.Tensor:
    """Foretell the coefficients of order 4.

    Parameters
    ----------
    order2_5V : Tensor (5, V)
        Coefficients of order 2, without much noise.
    seen_KV : Tensor (K, V)
        What was measured of order 4, in the same units.
    design_K9 : Tensor (K, 9), optional
        How coefficients of order 4 show in it; default: they are it.
    variance_V : Tensor (V,)
        Of the noise of what was measured, the mean over its rows.
    space : Neighbourhood

    Returns
    -------
    Tensor (9, V)
    """
    made_9V = couple(order2_5V)
    shown_KV = made_9V if design_K9 is None else design_K9 @ made_9V
    sums_2V = torch.stack([(seen_KV * shown_KV).sum(0), shown_KV.square().sum(0)])
    tiny = torch.finfo(sums_2V.dtype).tiny
    # torch's own sum of all hangs on the number of threads in its last bits
    product, power = np.sum(sums_2V.cpu().numpy(), axis=1, dtype=float)
    overall = float(product / max(power, tiny))
    product_V, power_V = space.smooth(sums_2V, PASSES)
    # the mean of what the surroundings and the whole brain say, each by its precision
    unsure_V = variance_V / (NEIGHBOURS * VARIES**2)
    factor_V = (product_V + unsure_V * overall) / (power_V + unsure_V).clamp_min(tiny)
    return made_9V * factor_V.clamp(0, MOST)


def couple(order2_5V: torch.Tensor) -> torch.Tensor:
    """Order 4 of the square of a function of order 2, over its norm, (9, V).

    Parameters
    ----------
    order2_5V : Tensor (5, V)
    """
    pairs, table = _coupling()
    table_9P = torch.as_tensor(table, dtype=order2_5V.dtype, device=order2_5V.device)
    products_PV = torch.stack([order2_5V[i] * order2_5V[j] for i, j in pairs])
    tiny = torch.finfo(order2_5V.dtype).tiny
    return (table_9P @ products_PV) / order2_5V.norm(dim=0).clamp_min(tiny)


@lru_cache(maxsize=1)
def _coupling() -> tuple[list[tuple[int, int]], np.ndarray]:
    """Pairs of coefficients of order 2, and what each product brings to order 4, (9, P)."""
    numbers = np.arange(60) + 0.5
    polar, around = np.arccos(1 - numbers / 60), np.pi * (1 + 5**0.5) * numbers
    directions = np.stack(
        [np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], 1
    )
    # products of two functions of order 2 have no order above 4: the fit is exact
    basis = basis_matrix(directions, 4)
    project, values = np.linalg.pinv(basis)[ORDER_4], basis[:, ORDER_2]
    pairs = [(i, j) for i in range(5) for j in range(i, 5)]
    table = [project @ (values[:, i] * values[:, j]) * (1 if i == j else 2) for i, j in pairs]
    return pairs, np.stack(table, 1)
