"""What neighbouring voxels say of a voxel: RISH of smoothed coefficients, and correlated noise.

Noise adds to RISH because coefficients are squared. Where coefficients are averaged over
neighbours before they are squared, most of it is gone, at the price of some sharpness; the
product with the neighbours' average has no share of white noise at all.
"""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan, coefficient_orders, order_of
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.resample import bounding_box, box_slices

N_COHERENT = 3 * len(ORDERS)
"""Rows of :func:`coherent_rish`: three of each kind."""

SIDE = 0.25
"""Weight of the next voxel in the binomial kernel (1, 2, 1) / 4."""

CENTRE = 0.5**3
"""Weight of a voxel in its own average by :func:`smooth`."""

COMPARED = 8
"""Volumes whose residuals are compared with their neighbours."""


def smooth(
    volume: torch.Tensor, passes: int = 1, sides: tuple[float, float, float] = (SIDE, SIDE, SIDE)
) -> torch.Tensor:
    """Smooth the last three axes of (..., X, Y, Z) by the binomial kernel (1, 2, 1) / 4.

    What lies outside counts as zero. One pass has a full width at half maximum of 1.7 voxels,
    three passes have 2.9.

    Parameters
    ----------
    volume : Tensor (..., X, Y, Z)
    passes : int
    sides : tuple of three floats
        Weight of the next voxel along each axis, on either side; 0 leaves an axis as it is.

    Examples
    --------
    >>> smooth(torch.tensor([0.0, 0.0, 4.0, 0.0, 0.0])[:, None, None]).flatten().tolist()
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """
    for _ in range(passes):
        for axis in (-1, -2, -3):
            n, side = volume.shape[axis], sides[axis]
            out = volume * (1 - 2 * side)
            if n > 1:
                out.narrow(axis, 1, n - 1).add_(volume.narrow(axis, 0, n - 1), alpha=side)
                out.narrow(axis, 0, n - 1).add_(volume.narrow(axis, 1, n - 1), alpha=side)
            volume = out
    return volume


def coherent_rish(sh_CV: torch.Tensor, mask_XYZ: np.ndarray) -> torch.Tensor:
    """RISH of every voxel together with its neighbours.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Coefficients of the mask's voxels.
    mask_XYZ : ndarray of bool
        V true voxels, C order.

    Returns
    -------
    Tensor (9, V)
        Rows of order 0, 2, 4 of: the product of a voxel's coefficients with the average of its
        neighbours' (:func:`smooth` without the voxel itself), which is free of the share of
        white noise and may be negative; RISH of coefficients smoothed once; and thrice. Zero
        where an order was not fitted.
    """
    box = box_slices(*bounding_box(mask_XYZ, 1))
    inside = torch.as_tensor(mask_XYZ[box], device=sh_CV.device)
    flat_V = torch.nonzero(inside.flatten()).squeeze(1)

    def averages(values_V: torch.Tensor) -> list[torch.Tensor]:
        """Sums over the neighbours, once and thrice, weighted by the kernel."""
        volume = values_V.new_zeros(inside.numel())
        volume[flat_V] = values_V
        once = smooth(volume.reshape(inside.shape))
        return [v.flatten()[flat_V] for v in (once, smooth(once, 2))]

    reach_V, wide_V = (w.clamp_min(1e-6) for w in averages(sh_CV.new_ones(len(flat_V))))
    alone_V = CENTRE / reach_V
    others_V = (1 - alone_V).clamp_min(0.1)
    out_9V = sh_CV.new_zeros(N_COHERENT, len(flat_V))
    # one coefficient after another: what is worked on stays in the processor's cache
    for row, order in enumerate(coefficient_orders(min(order_of(len(sh_CV)), ORDERS[-1]))):
        once_V, thrice_V = averages(sh_CV[row])
        once_V, thrice_V, level = once_V / reach_V, thrice_V / wide_V, int(order) // 2
        out_9V[level] += sh_CV[row] * ((once_V - alone_V * sh_CV[row]) / others_V)
        out_9V[len(ORDERS) + level] += once_V.square()
        out_9V[2 * len(ORDERS) + level] += thrice_V.square()
    return out_9V


def residual_correlation(
    signal_NV: torch.Tensor, mask_XYZ: np.ndarray, plan: FitPlan
) -> tuple[float, float, float]:
    """Correlation of the fit's residuals between neighbours along each axis.

    White noise has none; zero filling, interpolation and smoothing before us leave some, and
    so tell how wide the scan's point-spread function is for noise.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        In units of the scanner, where the noise is the same in every voxel.
    mask_XYZ : ndarray of bool
        V true voxels, C order.
    plan : FitPlan

    Returns
    -------
    tuple of three floats
        Between -1 and 1; zero where the fit leaves no residual.
    """
    rows = np.linspace(0, plan.n_directions - 1, min(COMPARED, plan.n_directions)).round()
    residual_NN = torch.as_tensor(
        plan.residual_NN[rows.astype(int)], dtype=signal_NV.dtype, device=signal_NV.device
    )
    residual = residual_NN @ signal_NV
    # a few voxels of large residual, vessels and edges, must not rule the sums
    limit = 4 * residual.square().mean().sqrt()
    box = box_slices(*bounding_box(mask_XYZ))
    inside = torch.as_tensor(mask_XYZ[box], device=signal_NV.device)
    volume = residual.new_zeros(len(residual), *inside.shape)
    volume[:, inside] = residual.clamp(-limit, limit)
    squares = volume.square().sum(0)

    def along(axis: int) -> float:
        n = inside.shape[axis] - 1
        first, second = volume.narrow(axis, 0, n), volume.narrow(axis, 1, n)
        # what lies outside is zero, and adds nothing to products; to squares its neighbour does
        both = (inside.narrow(axis, 0, n) & inside.narrow(axis, 1, n)).to(volume)
        power = ((squares.narrow(axis, 0, n) + squares.narrow(axis, 1, n)) * both).sum() / 2
        # without residuals but those of rounding there is nothing to compare
        compared = plan.residual_dof > 1e-6 and float(power) > 0
        return float((first * second).sum() / power) if compared else 0.0

    return along(-3), along(-2), along(-1)
