"""Noise and ringing of a raw scan, before anything is fitted.

1. MP-PCA: in small patches of all volumes the principal components that look like noise by
   random-matrix theory are left out (Veraart et al. 2016, doi:10.1016/j.neuroimage.2016.08.016).
2. Gibbs ringing, after that: each slice is resampled where its edges ring least (Kellner et al.
   2016, doi:10.1002/mrm.26054; Neto Henriques 2018, doi:10.17863/CAM.29356).

Both are DIPY's. In this order, since the first wants noise that no filter has touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from dmri7t.errors import InputError
from dmri7t.signal.quality import repair
from dmri7t.signal.shell import Brain

RADIUS = 2
"""Of the patches, in voxels: 5 x 5 x 5, unless there are more volumes than that has voxels."""


def patch_radius(n_volumes: int) -> int:
    """Radius of patches that have more voxels than the scan has volumes.

    Examples
    --------
    >>> patch_radius(17), patch_radius(124), patch_radius(125)
    (2, 2, 3)
    """
    radius = RADIUS
    while (2 * radius + 1) ** 3 - 1 < n_volumes:
        radius += 1
    return radius


def denoise(
    volume: Callable[[int], np.ndarray], n_volumes: int, mask_XYZ: np.ndarray
) -> tuple[Callable[[int], np.ndarray], dict[str, float]]:
    """Take out noise by MP-PCA, in the mask and two patches beyond; all else stays as it is.

    Parameters
    ----------
    volume : callable
        Gives volume i, (X, Y, Z).
    n_volumes : int
    mask_XYZ : ndarray (X, Y, Z) of bool
        The brain.

    Returns
    -------
    volume : callable
        Gives volume i without noise, (X, Y, Z) float32.
    metrics : dict
        ``noise_sd``: median over the mask of the standard deviation of the noise that MP-PCA
        found; ``removed_sd``: root mean square over mask and volumes of what was taken out.
        Both in the units of the image.

    Raises
    ------
    InputError
        If the image is smaller than a patch.
    """
    from dipy.denoise.localpca import mppca

    radius = patch_radius(n_volumes)
    if min(mask_XYZ.shape) < 2 * radius + 1:
        raise InputError(
            f"--denoise: the image of {mask_XYZ.shape} voxels is smaller than a patch of "
            f"{2 * radius + 1} voxels a side; leave the option out"
        )
    # what lies beyond the brain shall have no edge of noise near it, which would ring
    wide_XYZ = ndimage.binary_dilation(mask_XYZ, iterations=2 * radius)
    (box,) = ndimage.find_objects(_grown(wide_XYZ, radius).astype(np.uint8))
    raw = np.empty((*wide_XYZ[box].shape, n_volumes), np.float32)
    for index in range(n_volumes):
        raw[..., index] = repair(np.asarray(volume(index), np.float32)[box])[0]
    inside = wide_XYZ[box]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # voxels that no patch covers are divided by zero; they are left out right below
        warnings.simplefilter("ignore")
        clean, sigma = mppca(raw, mask=inside, patch_radius=radius, return_sigma=True)
    covered = inside & np.isfinite(clean).all(-1)
    clean[~covered] = raw[~covered]
    brain = mask_XYZ[box]
    removed = raw[brain] - clean[brain]
    sigma = sigma[brain]
    metrics = {
        "noise_sd": float(np.median(sigma[np.isfinite(sigma)])) if np.isfinite(sigma).any() else 0,
        "removed_sd": float(np.sqrt(np.mean(removed.astype(np.float64) ** 2))),
    }
    del raw

    def cleaned(index: int) -> np.ndarray:
        # a copy: the caller's own array shall not change
        whole = repair(np.array(volume(index), np.float32))[0]
        whole[box] = clean[..., index]
        return whole

    return cleaned, metrics


def denoise_voxels(values_NV: torch.Tensor, brain: Brain) -> torch.Tensor:
    """Take out noise by MP-PCA where only the voxels of a brain are held, (N, V).

    Raises
    ------
    InputError
        If the image is smaller than a patch.
    """
    volumes = brain.place(values_NV).numpy()
    clean, _ = denoise(lambda row: volumes[row], len(volumes), brain.mask)
    return brain.pick(torch.stack([torch.from_numpy(clean(row)) for row in range(len(volumes))]))


def _grown(mask_XYZ: np.ndarray, voxels: int) -> np.ndarray:
    return ndimage.binary_dilation(mask_XYZ, np.ones((3, 3, 3), bool), iterations=voxels)


def remove_ringing(volume_XYZ: np.ndarray, slice_axis: int = 2) -> np.ndarray:
    """Take Gibbs ringing out of one volume, slice by slice.

    Parameters
    ----------
    volume_XYZ : ndarray (X, Y, Z)
        As it was acquired: on its own grid, its k-space whole.
    slice_axis : int
        Axis along which slices were acquired.

    Returns
    -------
    ndarray (X, Y, Z) float32
        Not below zero.
    """
    from dipy.denoise.gibbs import gibbs_removal

    image = np.ascontiguousarray(volume_XYZ, np.float64)
    return gibbs_removal(image, slice_axis=slice_axis, inplace=False).astype(np.float32)
