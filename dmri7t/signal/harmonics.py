"""Spherical harmonics: basis, least-squares fit with a known gain, synthesis.

The basis is MRtrix's: real, orthonormal, even orders, scanner frame
(``dipy.reconst.shm.real_sh_tournier(legacy=False)``).
"""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.gradients import count_distinct

LAPLACE_BELTRAMI = 0.006
"""Weight of the Laplace-Beltrami penalty (Descoteaux et al. 2007, MRM 58:497)."""

AMPLE = 1.5
"""Directions per coefficient from which a plain least-squares fit is well conditioned."""


WORST_BASIS = 50.0
"""Condition number of the basis at the directions up to which an order above 2 is fitted. Tables
in use have 40 at most; thirty directions on two cones tell no order 4."""


def n_coefficients(order: int) -> int:
    """Count the coefficients of even orders up to ``order``: (order + 1)(order + 2) / 2.

    Examples
    --------
    >>> [n_coefficients(order) for order in (0, 2, 4, 6, 8)]
    [1, 6, 15, 28, 45]
    """
    return (order + 1) * (order + 2) // 2


def coefficient_orders(order: int) -> np.ndarray:
    """Return the order l of every coefficient, (C,)."""
    return np.concatenate([np.full(2 * n + 1, n) for n in range(0, order + 1, 2)])


def order_rows(n_coefs: int) -> list[range]:
    """Rows of every even order among so many coefficients.

    Examples
    --------
    >>> order_rows(6)
    [range(0, 1), range(1, 6)]
    """
    orders = range(0, order_of(n_coefs) + 1, 2)
    return [range(n_coefficients(order - 2), n_coefficients(order)) for order in orders]


def order_for(n_directions: int, maximum: int = 8) -> int:
    """Choose the highest even order that so many directions support.

    Order 4 from 15 directions (as many as coefficients; the fit is then regularised), higher
    ones from 1.5 directions a coefficient, order 2 below 15.

    Examples
    --------
    >>> [order_for(n) for n in (6, 12, 16, 30, 60, 90)]
    [2, 2, 4, 4, 6, 8]
    """
    order = 2 if n_directions < n_coefficients(4) else 4
    for higher in range(6, maximum + 1, 2):
        if n_directions >= AMPLE * n_coefficients(higher):
            order = higher
    return min(order, maximum)


def basis_matrix(directions_N3: np.ndarray, order: int) -> np.ndarray:
    """Evaluate the basis at unit vectors, (N, C) float64.

    Parameters
    ----------
    directions_N3 : ndarray (N, 3)
        Scanner frame.
    order : int
        Even.
    """
    from dipy.reconst.shm import real_sh_tournier

    x, y, z = np.asarray(directions_N3, float).T
    theta = np.arccos(np.clip(z, -1, 1))
    phi = np.arctan2(y, x)
    basis, _, _ = real_sh_tournier(order, theta, phi, legacy=False)
    return np.asarray(basis, float).reshape(len(x), -1)


@attrs.frozen(eq=False)
class FitPlan:
    """A linear fit of spherical harmonics for one table of directions.

    Parameters
    ----------
    order : int
        Highest even order.
    n_directions : int
    laplace_beltrami : float
        Weight of the penalty that was used; 0 for plain least squares.
    matrix_CN : ndarray (C, N)
        Takes signals to coefficients; each order is already divided by its gain.
    gain_L : ndarray (order / 2 + 1,)
        What fraction of the amplitude of each order the penalised fit keeps on average; the
        matrix undoes it.
    noise_L : ndarray (order / 2 + 1,)
        Expected RISH of each order for white noise of unit variance: the sum of the squared
        rows of the matrix.
    residual_NN : ndarray (N, N)
        Takes signals to the residuals of the penalised fit.
    """

    order: int
    n_directions: int
    laplace_beltrami: float
    matrix_CN: np.ndarray
    gain_L: np.ndarray
    noise_L: np.ndarray
    residual_NN: np.ndarray

    @property
    def residual_dof(self) -> float:
        """Expected sum of squared residuals for white noise of unit variance."""
        return float((self.residual_NN**2).sum())


def plan_fit(
    directions_N3: np.ndarray, order: int | None = None, laplace_beltrami: float | None = None
) -> FitPlan:
    """Prepare the fit for a table of directions.

    Coefficients minimise ``|B c - s|^2 + lambda sum (l (l + 1))^2 c_lm^2``. The penalty shrinks
    each order by a gain that depends on the table (0.32 for order 4 with 16 directions), which
    would make two tables differ in RISH by construction; rows are therefore divided by the
    mean diagonal of (fit matrix x basis) over each order.

    Parameters
    ----------
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    order : int, optional
        Default: :func:`order_for` the number of different directions, or less where these do not
        tell so much.
    laplace_beltrami : float, optional
        Default: none where there are 1.5 different directions a coefficient or more, else 0.006.
    """
    n_directions = len(directions_N3)
    distinct = count_distinct(directions_N3)
    if order is None:
        order = order_for(distinct)
        while order > 2 and np.linalg.cond(basis_matrix(directions_N3, order)) > WORST_BASIS:
            order -= 2
    l_C = coefficient_orders(order)
    if laplace_beltrami is None:
        ample = distinct >= AMPLE * len(l_C)
        laplace_beltrami = 0.0 if ample else LAPLACE_BELTRAMI
    basis_NC = basis_matrix(directions_N3, order)
    penalty_C = laplace_beltrami * (l_C * (l_C + 1.0)) ** 2
    if laplace_beltrami:
        normal_CC = basis_NC.T @ basis_NC + np.diag(penalty_C)
        shrunk_CN = np.linalg.solve(normal_CC, basis_NC.T)
    else:
        shrunk_CN = np.linalg.pinv(basis_NC)
    diagonal_C = np.einsum("cn,nc->c", shrunk_CN, basis_NC)
    gain_L = np.array([diagonal_C[l_C == n].mean() for n in range(0, order + 1, 2)])
    matrix_CN = shrunk_CN / gain_L[l_C // 2][:, None]
    row_C = (matrix_CN**2).sum(1)
    noise_L = np.array([row_C[l_C == n].sum() for n in range(0, order + 1, 2)])
    return FitPlan(
        order=order,
        n_directions=n_directions,
        laplace_beltrami=float(laplace_beltrami),
        matrix_CN=matrix_CN,
        gain_L=gain_L,
        noise_L=noise_L,
        residual_NN=np.eye(n_directions) - basis_NC @ shrunk_CN,
    )


def fit(signal_NV: torch.Tensor, plan: FitPlan) -> torch.Tensor:
    """Fit coefficients to signals.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Signal over its b0, volumes first.
    plan : FitPlan

    Returns
    -------
    Tensor (C, V), gain-corrected.
    """
    matrix_CN = torch.as_tensor(plan.matrix_CN, dtype=signal_NV.dtype, device=signal_NV.device)
    return matrix_CN @ signal_NV


def synthesize(sh_CV: torch.Tensor, directions_N3: np.ndarray) -> torch.Tensor:
    """Evaluate coefficients (C, V) at unit vectors (N, 3): signals (N, V).

    Examples
    --------
    The first basis function is the same everywhere, 1 / sqrt(4 pi):

    >>> sh = torch.tensor([[1.0]], dtype=torch.float64)
    >>> synthesize(sh, np.eye(3)).flatten().numpy().round(4).tolist()
    [0.2821, 0.2821, 0.2821]
    """
    order = order_of(sh_CV.shape[0])
    basis_NC = torch.as_tensor(
        basis_matrix(directions_N3, order), dtype=sh_CV.dtype, device=sh_CV.device
    )
    return basis_NC @ sh_CV


def order_of(n_coefs: int) -> int:
    """Order of a set of so many coefficients.

    Raises
    ------
    ValueError
        If no even order has so many.
    """
    order = round((np.sqrt(1 + 8 * n_coefs) - 3) / 2)
    if order % 2 or n_coefficients(order) != n_coefs:
        raise ValueError(f"{n_coefs} coefficients belong to no even order")
    return order
