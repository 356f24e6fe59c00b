"""Slices that lost signal in some volumes, as the volumes of a shell tell."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import median_filter

REACH = 6
"""Neighbouring slices on either side that a slice is held against."""

FEW = 50
"""Voxels of a slice below which its mean says nothing."""

PART = 0.2
"""Of the largest slice: where the brain ends, eddy currents move slices out of the mask."""


def slice_loss(signal_NV: torch.Tensor, mask_XYZ: np.ndarray) -> torch.Tensor:
    """Fraction of the signal that a voxel's slice lost in the volume that lost most.

    The mean of a slice in each volume, over its upper quartile in all of them, hangs on
    directions and tissue, and both change little from a slice to those around it. Gain that
    drifts takes a volume's slices together; motion moves signal within them. What is left is
    what a slice has lost by itself. Which axis the slices lie across is not asked: the largest
    of three counts. Slices at the brain's ends, a fifth as large as the largest or smaller, are
    not judged.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Volumes of the shell in scanner units, mask voxels only.
    mask_XYZ : ndarray of bool
        V true voxels, C order.

    Returns
    -------
    Tensor (V,)
        From 0 to 1.
    """
    indices = np.nonzero(mask_XYZ)
    of_planes = zip(plane_sums(signal_NV.cpu(), mask_XYZ), indices, strict=True)
    loss_3V = [_loss(sums, np.bincount(at, minlength=sums.shape[1]))[at] for sums, at in of_planes]
    return torch.from_numpy(np.max(loss_3V, 0)).to(signal_NV)


def plane_sums(signal_NV: torch.Tensor, mask_XYZ: np.ndarray) -> list[np.ndarray]:
    """Sums of every volume over the planes across each axis: (N, X), (N, Y) and (N, Z).

    Examples
    --------
    >>> values = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    >>> [sums.tolist() for sums in plane_sums(values, np.ones((1, 2, 2), bool))]
    [[[15.0]], [[3.0, 12.0]], [[5.0, 10.0]]]
    """
    x, y, z = (torch.from_numpy(at) for at in np.nonzero(mask_XYZ))
    n_x, n_y, n_z = mask_XYZ.shape
    # over the lines of one plane first: a few hundred values lose nothing in float32
    across_y = signal_NV.new_zeros(len(signal_NV), n_x * n_y)
    across_y.index_add_(1, x * n_y + y, signal_NV)
    across_z = signal_NV.new_zeros(len(signal_NV), n_x * n_z)
    across_z.index_add_(1, x * n_z + z, signal_NV)
    of_lines = across_y.double().unflatten(1, (n_x, n_y)).numpy()
    of_z = across_z.double().unflatten(1, (n_x, n_z)).sum(1).numpy()
    return [of_lines.sum(2), of_lines.sum(1), of_z]


def _loss(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Loss (n,) of the planes across one axis, by their sums (N, n) and numbers of voxels."""
    # not the median: a third of few volumes may be lost
    usual = np.quantile(sums, 0.75, axis=0)
    # slices that are empty in all volumes are another fault, and have nothing to lose
    judged = (count >= max(FEW, PART * count.max(initial=0))) & (usual > 0)
    loss = np.zeros(len(count))
    if judged.any():
        share = sums[:, judged] / usual[judged]
        around = median_filter(share, (1, 2 * REACH + 1), mode="nearest")
        kept = np.divide(share, around, out=np.ones_like(share), where=around > 0)
        loss[judged] = (1 - kept).max(0).clip(0)
    return loss
