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
    volumes = signal_NV.cpu().numpy()
    loss_3V = [_loss(volumes, at, n)[at] for at, n in zip(indices, mask_XYZ.shape, strict=True)]
    return torch.from_numpy(np.max(loss_3V, 0)).to(signal_NV)


def _loss(volumes: np.ndarray, at_V: np.ndarray, n: int) -> np.ndarray:
    """Loss (n,) of the planes across one axis, at which ``at_V`` says where voxels lie."""
    sums = np.stack([np.bincount(at_V, volume, n) for volume in volumes])
    # not the median: a third of few volumes may be lost
    usual = np.quantile(sums, 0.75, axis=0)
    # slices that are empty in all volumes are another fault, and have nothing to lose
    count = np.bincount(at_V, minlength=n)
    judged = (count >= max(FEW, PART * count.max(initial=0))) & (usual > 0)
    loss = np.zeros(n)
    if judged.any():
        share = sums[:, judged] / usual[judged]
        around = median_filter(share, (1, 2 * REACH + 1), mode="nearest")
        kept = np.divide(share, around, out=np.ones_like(share), where=around > 0)
        loss[judged] = (1 - kept).max(0).clip(0)
    return loss
