"""Noise of a shell, from what holds no signal.

Where directions are many, residuals of the fit of harmonics are noise alone. Where they are few,
the penalty of the fit, or an order too low, leaves signal in them. Each of these leaves less, and
what leaves least is believed:

1. differences between measurements of one direction;
2. residuals of harmonics of order 4 without a penalty, which want more than 15 directions;
3. residuals of a tensor, whose signal has all orders, which wants more than 6.

A shell of six directions has none of them. Its noise is then that of the b0s among each other, or
else that of differences between neighbouring voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dmri7t.signal.gradients import group_directions
from dmri7t.signal.harmonics import FitPlan, basis_matrix
from dmri7t.signal.resample import bounding_box, box_slices

VOXELS = 20_000
"""Voxels that are looked at: their median is known within half a percent."""

STEPS = 2
"""Gauss-Newton steps of the tensor's fit, from where the logarithm leads."""

SIXTH = (1.0, -6.0, 15.0, -20.0, 15.0, -6.0, 1.0)
SECOND = (1.0, -2.0, 1.0)
"""Differences along a line of voxels, of sixth and of second degree."""

QUIET = 0.1
"""Part of the voxels in which differences between neighbours are hardly more than noise."""

WHITE = 0.65
"""Noise by differences along all three axes, over that along the noisiest one, from which on
voxels have noise of their own. Interpolation and filters leave less."""


def is_ample(plan: FitPlan) -> bool:
    """Whether residuals of a fit are noise alone: no penalty, and no order left out up to 4."""
    return plan.laplace_beltrami == 0 and plan.order >= 4 and plan.residual_dof >= 1


def few_directions_noise(
    signal_NV: torch.Tensor,
    directions_N3: np.ndarray,
    mask_XYZ: np.ndarray,
    b0s_MV: torch.Tensor | None = None,
) -> float:
    """Noise of a shell whose fit leaves signal in its residuals.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        In units of the scanner.
    directions_N3 : ndarray (N, 3)
        Unit vectors.
    mask_XYZ : ndarray of bool
        V true voxels, C order.
    b0s_MV : Tensor (M, V), optional
        The b0s one by one.

    Returns
    -------
    float
        Standard deviation in units of the scanner. NaN if nothing tells: a lone b0, six
        directions, and fewer than seven voxels in a row.
    """
    n_voxels = signal_NV.shape[1]
    sample_NV = signal_NV[:, :: max(1, n_voxels // VOXELS)].double()
    estimates = [
        repeats_noise(sample_NV, group_directions(directions_N3)),
        harmonics_noise(sample_NV, directions_N3),
        tensor_noise(sample_NV, directions_N3),
    ]
    finite = [value for value in estimates if np.isfinite(value)]
    if finite:
        return min(finite)
    if b0s_MV is not None and len(b0s_MV) > 1:
        return repeats_noise(b0s_MV.double(), [list(range(len(b0s_MV)))])
    return neighbour_noise(signal_NV, mask_XYZ)


def _from_power(power_V: torch.Tensor, dof: int, quantile: float = 0.5) -> float:
    """Standard deviation of which these are sums of squares with so many degrees of freedom."""
    from scipy.stats import chi2

    return float((power_V.quantile(quantile) / chi2.ppf(quantile, dof)).sqrt())


def repeats_noise(signal_NV: torch.Tensor, groups: Sequence[Sequence[int]]) -> float:
    """Noise of volumes that differ by nothing else within a group; NaN without such.

    Examples
    --------
    >>> noise = 5 * torch.randn(3, 10000, generator=torch.Generator().manual_seed(0))
    >>> round(repeats_noise(100 + noise, [[0, 1], [2]]))
    5
    """
    dof, power_V = 0, signal_NV.new_zeros(signal_NV.shape[1])
    for rows in groups:
        part_NV = signal_NV[list(rows)]
        power_V += (part_NV - part_NV.mean(0)).square().sum(0)
        dof += len(rows) - 1
    return _from_power(power_V, dof) if dof else float("nan")


def harmonics_noise(signal_NV: torch.Tensor, directions_N3: np.ndarray) -> float:
    """Noise that order 4 without a penalty leaves; NaN where it fits all that there is."""
    basis_NC = basis_matrix(directions_N3, 4)
    left_NC, values, _ = np.linalg.svd(basis_NC, full_matrices=True)
    # what the directions hardly tell apart is no noise
    rank = int((values > 1e-6 * values[0]).sum())
    rest = torch.as_tensor(left_NC[:, rank:].T.copy(), dtype=signal_NV.dtype)
    if not len(rest):
        return float("nan")
    return _from_power((rest.to(signal_NV.device) @ signal_NV).square().sum(0), len(rest))


def tensor_noise(signal_NV: torch.Tensor, directions_N3: np.ndarray) -> float:
    """Noise that a tensor leaves, fitted to the signal itself; NaN where it fits all there is."""
    x, y, z = np.asarray(directions_N3, float).T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], 1)
    n, rank = len(design), int(np.linalg.matrix_rank(design, tol=1e-3))
    if n <= rank:
        return float("nan")
    design_N6 = torch.as_tensor(design).to(signal_NV)
    top_V = signal_NV.amax(0).clamp_min(torch.finfo(signal_NV.dtype).tiny)
    share_NV = signal_NV / top_V
    exponent_6V = torch.linalg.pinv(design_N6) @ share_NV.clamp_min(0.01).log()
    tiny = 1e-9 * torch.eye(6).to(signal_NV)
    for _ in range(STEPS + 1):
        fitted_NV = (design_N6 @ exponent_6V).clamp(-8, 1).exp()
        slope_VN6 = fitted_NV.T[:, :, None] * design_N6
        off_VN1 = (share_NV - fitted_NV).T[:, :, None]
        across = slope_VN6.transpose(1, 2)
        step_V61 = torch.linalg.solve(across @ slope_VN6 + tiny, across @ off_VN1)
        # what no step can take away
        left_VN = (off_VN1 - slope_VN6 @ step_V61)[..., 0]
        exponent_6V = exponent_6V + step_V61[..., 0].T
    return _from_power(left_VN.square().sum(1) * top_V.square(), n - rank)


def neighbour_noise(signal_NV: torch.Tensor, mask_XYZ: np.ndarray) -> float:
    """Noise by differences between neighbouring voxels; NaN where no seven lie in a row.

    The mean over the volumes, which has the edges of the anatomy, is taken out first. Along all
    three axes differences see hardly any anatomy, but little of noise that a filter or an
    interpolation has smoothed along one of them; along one axis they see more of both. The
    quietest voxels are looked at.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Of one b-value.
    mask_XYZ : ndarray of bool
    """
    n = len(signal_NV)
    if n < 2:
        return float("nan")
    box = box_slices(*bounding_box(mask_XYZ))
    inside = torch.as_tensor(mask_XYZ[box], device=signal_NV.device)
    volumes = signal_NV.new_full((n, *inside.shape), float("nan"))
    volumes[:, inside] = signal_NV - signal_NV.mean(0)

    def noise(volumes: torch.Tensor) -> float:
        power = volumes.square().sum(0)
        power = power[torch.isfinite(power)]
        # quantiles are of so many at most
        power = power[:: max(1, len(power) // VOXELS)]
        return _from_power(power, n - 1, QUIET) if len(power) else float("nan")

    along = [noise(_differences(volumes, SIXTH, axis)) for axis in (1, 2, 3)]
    if np.isnan(along).all():
        return float("nan")
    noisiest = float(np.nanmax(along))
    for axis in (1, 2, 3):
        volumes = _differences(volumes, SECOND, axis)
    everywhere = noise(volumes)
    return everywhere if everywhere >= WHITE * noisiest else noisiest


def _differences(volumes: torch.Tensor, weights: Sequence[float], axis: int) -> torch.Tensor:
    """Weighted sums along an axis, such that white noise keeps its variance."""
    length = volumes.shape[axis] - len(weights) + 1
    if length < 1:
        return volumes.narrow(axis, 0, 0)
    parts = (w * volumes.narrow(axis, i, length) for i, w in enumerate(weights))
    norm = float(np.linalg.norm(weights))
    total = next(parts)
    for part in parts:
        total = total + part
    return total / norm
