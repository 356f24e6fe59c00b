"""Brain mask of a mean b0 image.

1. The image is brought to about 3 mm: there the median filter is quick and noise is low.
2. The receive profile is divided out, or the dark centre of a scan with many coils is lost.
3. DIPY's ``median_otsu`` finds the tissue.
4. What hangs on by a thread (eyes, muscle) is cut off, holes are filled.
5. The mask is brought back smoothly, so that its surface shows no steps.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dmri7t.errors import InputError

WORKING_VOXEL = 3.0
"""Voxel size at which the brain is looked for, mm."""

PROFILE_WIDTH = 30.0
"""Standard deviation of the smooth receive profile, mm."""

SMALL_HEAD = 4e5
"""Heads below this volume (mm3) are filtered with the narrow median."""

SMALLEST = 0.005
"""Masks below this fraction of the image are taken for a failure."""


def brain_mask(b0_XYZ: np.ndarray, voxel_sizes: np.ndarray) -> np.ndarray:
    """Find the brain.

    Parameters
    ----------
    b0_XYZ : ndarray (X, Y, Z)
        Mean b0.
    voxel_sizes : ndarray (3,)
        mm.

    Returns
    -------
    ndarray (X, Y, Z) of bool

    Raises
    ------
    InputError
        If nothing that could be a brain is there.
    """
    from dipy.segment.mask import median_otsu

    image = np.nan_to_num(np.asarray(b0_XYZ, np.float32), posinf=0, neginf=0).clip(0)
    if image.max() <= 0:
        raise InputError("the b0 image is empty: no brain mask can be found; give one")
    low = _coarsen(image, np.asarray(voxel_sizes, float))
    flat = _flatten(low)
    # a wide filter eats small heads (animals, phantoms)
    small = (flat > 0).sum() * WORKING_VOXEL**3 < SMALL_HEAD
    _, tissue = median_otsu(flat, median_radius=1 if small else 2, numpass=4)
    mask = _upsample(_tidy(tissue), image.shape)
    if mask.mean() < SMALLEST:
        raise InputError("no brain was found in the b0 image; give a brain mask")
    return mask


def _coarsen(image: np.ndarray, voxel_sizes: np.ndarray) -> np.ndarray:
    """Average down to the working voxel size; axes that are coarser already stay."""
    factor = np.minimum(voxel_sizes / WORKING_VOXEL, 1.0)
    blurred = ndimage.gaussian_filter(image, np.where(factor < 1, 0.4 / factor, 0))
    return ndimage.zoom(blurred, factor, order=1, grid_mode=True, mode="nearest")


def _flatten(low: np.ndarray) -> np.ndarray:
    """Divide out the smooth part of the intensity within the head; clip what stays bright."""
    from dipy.segment.threshold import otsu

    head = low > 0.5 * otsu(np.minimum(low, np.percentile(low, 99)))
    width = PROFILE_WIDTH / WORKING_VOXEL
    # a normalised convolution, so that air does not darken the rim
    weight = ndimage.gaussian_filter(head.astype(np.float32), width, mode="constant")
    smooth = ndimage.gaussian_filter(low * head, width, mode="constant")
    profile = np.maximum(smooth, 1e-3 * smooth.max()) / np.maximum(weight, 1e-3)
    return np.clip(low / profile, 0, 1.3) * head


def _tidy(tissue: np.ndarray) -> np.ndarray:
    """Keep the largest piece that survives an opening of 6 mm; close and fill it."""
    cross = ndimage.generate_binary_structure(3, 1)
    pad = 4
    # edges repeat, or a brain cut off by the field of view would be eaten from there
    mask = np.pad(tissue.astype(bool), pad, mode="edge")
    labels, n_pieces = ndimage.label(ndimage.binary_erosion(mask, cross, iterations=2))
    if n_pieces:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        core = labels == sizes.argmax()
        mask = ndimage.binary_dilation(core, cross, iterations=3, mask=mask)
    mask = ndimage.binary_closing(mask, cross, iterations=3)
    return ndimage.binary_fill_holes(mask)[pad:-pad, pad:-pad, pad:-pad]


def _upsample(mask: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Bring a coarse mask to the full grid by smoothing and linear interpolation."""
    if mask.shape == tuple(shape):
        return mask
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.6, mode="nearest")
    factor = np.asarray(shape) / np.asarray(mask.shape)
    return ndimage.zoom(soft, factor, order=1, grid_mode=True, mode="nearest") > 0.5
