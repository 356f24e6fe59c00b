"""The principal direction of a voxel, from its coefficients of order 2.

Order 2 of a signal is a quadratic form without trace, s_2(u) = u^T Q u: the signal is lowest along
the eigenvector of the smallest eigenvalue of Q, where a tensor's diffusivity is highest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from dmri7t.signal.harmonics import basis_matrix

ORDER_2 = slice(1, 6)
"""Coefficients of order 2 within those of all even orders."""

_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@lru_cache(maxsize=1)
def quadratic_forms() -> torch.Tensor:
    """Matrix Q (5, 3, 3) of each basis function of order 2."""
    rng = np.random.default_rng(0)
    directions_N3 = rng.normal(size=(60, 3))
    directions_N3 /= np.linalg.norm(directions_N3, axis=1, keepdims=True)
    products = np.stack([directions_N3[:, i] * directions_N3[:, j] for i, j in _PAIRS], 1)
    # both are the same functions: least squares is exact
    basis = basis_matrix(directions_N3, 2)[:, ORDER_2]
    forms_65 = np.linalg.lstsq(products, basis, rcond=None)[0]
    forms = np.zeros((5, 3, 3))
    for (i, j), row in zip(_PAIRS, forms_65, strict=True):
        forms[:, i, j] += row / 2
        forms[:, j, i] += row / 2
    return torch.from_numpy(forms)


def principal_directions(sh_CV: torch.Tensor) -> torch.Tensor:
    """Directions along which order 2 of the signal is lowest.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        At least order 2.

    Returns
    -------
    Tensor (3, V), float64 unit vectors in the frame of the gradients; the sign means nothing.
    """
    return directions_of_order2(sh_CV[ORDER_2])


def directions_of_order2(order2_5V: torch.Tensor) -> torch.Tensor:
    """Principal directions (3, V) from the five coefficients of order 2 alone."""
    forms_V33 = torch.einsum("cv,cij->vij", order2_5V.double(), quadratic_forms())
    return torch.linalg.eigh(forms_V33)[1][:, :, 0].T


def angles(first_3V: torch.Tensor, second_3V: torch.Tensor) -> torch.Tensor:
    """Angles (V,) between unit vectors whose sign means nothing, in degrees."""
    cosine_V = (first_3V * second_3V).sum(0).abs().clamp(max=1)
    return torch.rad2deg(torch.arccos(cosine_V))
