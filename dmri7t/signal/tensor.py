"""Diffusion tensor by weighted least squares, for whole brains at once.

The logarithm of the signal is linear in the tensor and ln S0. Weighting each measurement by
its squared signal, as the ordinary least-squares fit predicts it, undoes what the logarithm
does to the noise (Salvador et al. 2005, Hum Brain Mapp 24:144). One reweighting is DIPY's WLS;
MRtrix's ``dwi2tensor -ols -iter N`` makes N.
"""

from __future__ import annotations

import numpy as np
import torch

CHUNK = 32768
"""Voxels that are fitted at once: the work arrays then stay in the processor's cache."""

FLOOR = 1e-4
"""Signals are held above this fraction of the voxel's largest before the logarithm.

Nothing that is measured lies so low. MRtrix takes 1e-6; the lower the floor, the more a value
that was cut at zero drags the fit, until in float32 rounding decides FA.
"""

_PAIRS = [(i, j) for i in range(7) for j in range(i + 1)]


def design_matrix(bvals_N: np.ndarray, directions_N3: np.ndarray) -> np.ndarray:
    """Matrix (N, 7) that takes (Dxx, Dyy, Dzz, Dxy, Dxz, Dyz, ln S0) to ln S; D in mm2/s.

    Examples
    --------
    >>> design_matrix([1000], [[0, 1, 0]]).round().tolist()
    [[-0.0, -1000.0, -0.0, -0.0, -0.0, -0.0, 1.0]]
    """
    b = np.asarray(bvals_N, float)
    x, y, z = np.asarray(directions_N3, float).T
    columns = [x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z]
    return np.stack([*(-b * c for c in columns), np.ones_like(b)], 1)


def fit_tensor(
    signal_NV: torch.Tensor,
    bvals_N: np.ndarray,
    directions_N3: np.ndarray,
    iterations: int = 1,
) -> torch.Tensor:
    """Fit tensors.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
    bvals_N : ndarray (N,)
        s/mm2.
    directions_N3 : ndarray (N, 3)
        Unit vectors.
    iterations : int
        Reweightings after the ordinary fit.

    Returns
    -------
    Tensor (6, V)
        Dxx, Dyy, Dzz, Dxy, Dxz, Dyz in mm2/s.

    Examples
    --------
    >>> axes = np.concatenate([np.zeros((1, 3)), np.eye(3), 1 - np.eye(3)])
    >>> axes[4:] /= np.sqrt(2)
    >>> bvals = np.array([0.0] + [1000.0] * 6)
    >>> signal = 800 * np.exp(-bvals * (axes**2 @ [1.7e-3, 0.3e-3, 0.3e-3]))
    >>> tensor = fit_tensor(torch.tensor(signal)[:, None], bvals, axes)
    >>> (tensor[:3, 0] * 1e3).numpy().round(3).tolist()
    [1.7..., 0.3..., 0.3...]
    >>> round(float(fractional_anisotropy(tensor)), 3)
    0.799
    """
    # in ms/um2 all columns are of order one, so that float32 is enough
    design_N7 = design_matrix(np.asarray(bvals_N) / 1000, directions_N3)
    products = np.stack([design_N7[:, i] * design_N7[:, j] for i, j in _PAIRS])
    design, ordinary_7N, products_PN = (
        torch.as_tensor(matrix, dtype=torch.float32, device=signal_NV.device)
        for matrix in (design_N7, np.linalg.pinv(design_N7), products)
    )
    out_6V = torch.empty(6, signal_NV.shape[1], dtype=torch.float32, device=signal_NV.device)
    for first in range(0, signal_NV.shape[1], CHUNK):
        chunk = slice(first, first + CHUNK)
        signal = signal_NV[:, chunk].to(torch.float32)
        top = signal.amax(0).clamp_min(torch.finfo(torch.float32).tiny)
        log_NV = torch.maximum(signal / top, signal.new_tensor(FLOOR)).log_()
        fitted_7V = ordinary_7N @ log_NV
        for _ in range(iterations):
            weight_NV = (design @ fitted_7V).clamp_(-14, 5).mul_(2).exp_()
            normal_PV = products_PN @ weight_NV
            right_7V = design.T @ weight_NV.mul_(log_NV)
            fitted_7V = _solve(normal_PV, right_7V)
        out_6V[:, chunk] = fitted_7V[:6]
    return out_6V / 1000


def _solve(normal_PV: torch.Tensor, right_7V: torch.Tensor) -> torch.Tensor:
    """Solve 7 x 7 systems, all voxels at once, by Cholesky; only the lower triangle is given."""
    row_of = {pair: row for row, pair in enumerate(_PAIRS)}
    low: dict[tuple[int, int], torch.Tensor] = {}
    for i in range(7):
        for j in range(i + 1):
            value = normal_PV[row_of[i, j]].clone()
            for k in range(j):
                value.addcmul_(low[i, k], low[j, k], value=-1)
            if i == j:
                # a pivot that rounding has eaten is held up, so that all stays finite; the
                # diagonal holds the inverse root, so that divisions become products
                least = normal_PV[row_of[i, j]] * 1e-6
                low[i, j] = torch.maximum(value, least).clamp_min_(1e-18).rsqrt_()
            else:
                low[i, j] = value.mul_(low[j, j])
    solution: list[torch.Tensor] = []
    for i in range(7):
        value = right_7V[i].clone()
        for k in range(i):
            value.addcmul_(low[i, k], solution[k], value=-1)
        solution.append(value.mul_(low[i, i]))
    for i in reversed(range(7)):
        for k in range(i + 1, 7):
            solution[i].addcmul_(low[k, i], solution[k], value=-1)
        solution[i].mul_(low[i, i])
    return torch.stack(solution)


def mean_diffusivity(tensor_6V: torch.Tensor) -> torch.Tensor:
    """Mean of the eigenvalues (V,), mm2/s."""
    return tensor_6V[:3].mean(0)


def fractional_anisotropy(tensor_6V: torch.Tensor) -> torch.Tensor:
    """FA (V,), between 0 and 1, without eigenvalues: from the tensor's norm and its trace.

    Examples
    --------
    >>> line, ball = [1.0, 0, 0, 0, 0, 0], [1.0, 1.0, 1.0, 0, 0, 0]
    >>> fractional_anisotropy(torch.tensor([line, ball]).T).round(decimals=6).tolist()
    [1.0, 0.0]
    """
    off = 2 * tensor_6V[3:].square().sum(0)
    mean = mean_diffusivity(tensor_6V)
    deviation = (tensor_6V[:3] - mean).square().sum(0) + off
    norm = tensor_6V[:3].square().sum(0) + off
    tiny = torch.finfo(tensor_6V.dtype).tiny
    return (1.5 * deviation / norm.clamp_min(tiny)).sqrt().clamp(0, 1)


def principal_direction(tensor_6V: torch.Tensor) -> torch.Tensor:
    """Unit eigenvector (V, 3) of the largest eigenvalue.

    Repeated squaring of the tensor, shifted to be positive, leaves the projection on it.
    """
    parts = [_direction(part_6V) for part_6V in tensor_6V.split(CHUNK, 1)]
    vector_3V = torch.cat(parts, 1) if parts else tensor_6V[:3]
    return vector_3V.T.contiguous()


def _direction(tensor_6V: torch.Tensor) -> torch.Tensor:
    """Principal direction (3, V); squares are of six numbers, as the tensors are symmetric."""
    power_6V = tensor_6V / tensor_6V.abs().amax(0).clamp_min(1e-12)
    power_6V[:3] += 3
    for _ in range(10):
        xx, yy, zz, xy, xz, yz = power_6V
        square_6V = torch.empty_like(power_6V)
        for row, (one, other) in enumerate(
            (
                ((xx, xy, xz), (xx, xy, xz)),
                ((xy, yy, yz), (xy, yy, yz)),
                ((xz, yz, zz), (xz, yz, zz)),
                ((xx, xy, xz), (xy, yy, yz)),
                ((xx, xy, xz), (xz, yz, zz)),
                ((xy, yy, yz), (xz, yz, zz)),
            )
        ):
            torch.mul(one[0], other[0], out=square_6V[row])
            square_6V[row].addcmul_(one[1], other[1]).addcmul_(one[2], other[2])
        power_6V = square_6V.div_(square_6V[:3].sum(0))
    xx, yy, zz, xy, xz, yz = power_6V
    columns_33V = torch.stack([torch.stack(c) for c in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))])
    longest_V = power_6V[:3].argmax(0)
    vector_3V = columns_33V.gather(0, longest_V.expand(1, 3, -1))[0]
    return vector_3V / vector_3V.norm(dim=0).clamp_min(1e-12)
