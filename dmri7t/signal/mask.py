"""Brain mask of a mean b0 image.

1. The image is brought to about 3 mm: there the median filter is quick and noise is low.
2. The receive profile is divided out, or the dark centre of a scan with many coils is lost.
3. DIPY's ``median_otsu`` finds the tissue.
4. What hangs on by a thread (eyes, muscle) is cut off, holes are filled.
5. The mask is brought back smoothly, so that its surface shows no steps.
6. On the full grid what is dark is peeled off from outside, bone and the scalp's rim behind it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dmri7t.errors import InputError
from dmri7t.signal.resample import bounding_box, box_slices

WORKING_VOXEL = 3.0
"""Voxel size at which the brain is looked for, mm."""

PROFILE_WIDTH = 30.0
"""Standard deviation of the smooth receive profile, mm."""

PEELED = 9.0
"""Depth of the layer, mm, of which dark parts are peeled off: further in, dark is brain."""

DARK = 0.5
"""Signal below this part of what the brain has deeper in is bone, air or fat."""

LEVEL_WIDTH = 20.0
"""Standard deviation, mm, over which the brain's signal is carried outwards."""

THREAD = 3.0
"""What is thinner than twice this, mm, does not hold parts of a mask together."""

SMALL_HEAD = 4e5
"""Heads below this volume (mm3) are filtered with the narrow median."""

BRIGHT = 5.0
"""Values beyond so many times the 99th percentile of those above zero are cut off."""

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
        raise InputError(
            "the b0 is zero or no number everywhere: no brain mask can be found; convert the scan"
        )
    # what a voxel or a few hold beyond all others is no tissue, and would hide it
    image = image.clip(max=BRIGHT * float(np.percentile(image[image > 0], 99)))
    low_end, high_end = np.percentile(image, [0.5, 99.5])
    if low_end == high_end:
        raise InputError(
            f"the b0 has one value, {low_end:.4g}, nearly everywhere: there is no brain to be "
            "seen; convert the scan again"
        )
    sizes = np.asarray(voxel_sizes, float)
    low = _coarsen(image, sizes)
    flat = _flatten(low)
    # a wide filter eats small heads (animals, phantoms)
    small = (flat > 0).sum() * WORKING_VOXEL**3 < SMALL_HEAD
    _, tissue = median_otsu(flat, median_radius=1 if small else 2, numpass=4)
    coarse = _tidy(tissue)
    mask = _upsample(coarse, image.shape)
    if not small:
        mask = _peel(mask, image, _level(low, coarse, image.shape), sizes)
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


def _level(low: np.ndarray, coarse: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Signal that a brain has at each voxel of the full grid, by what it has deeper in."""
    padded = np.pad(coarse, 1, mode="edge")
    deep = (ndimage.distance_transform_edt(padded) * WORKING_VOXEL > PEELED)[1:-1, 1:-1, 1:-1]
    width = LEVEL_WIDTH / WORKING_VOXEL
    weight = ndimage.gaussian_filter(deep.astype(np.float32), width, mode="constant")
    smooth = ndimage.gaussian_filter(low * deep, width, mode="constant")
    level = smooth / np.maximum(weight, 1e-6)
    factor = np.asarray(shape) / np.asarray(low.shape)
    return ndimage.zoom(level, factor, order=1, grid_mode=True, mode="nearest")


def _grown(mask: np.ndarray, width: float, sizes: np.ndarray) -> np.ndarray:
    """Widen a mask by some mm along each axis, voxel by voxel."""
    steps = np.maximum(np.round(width / sizes), 1).astype(int)
    for step in range(steps.max()):
        cross = np.zeros((3, 3, 3), bool)
        cross[1, 1, 1] = True
        for axis in np.flatnonzero(steps > step):
            along = [1, 1, 1]
            for along[axis] in (0, 2):
                cross[tuple(along)] = True
        mask = ndimage.binary_dilation(mask, cross)
    return mask


def _peel(mask: np.ndarray, image: np.ndarray, level: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Take off dark voxels that hang together with the outside, and what they part from the rest.

    What is dark deeper in stays, and so does a dark voxel that brain encloses.
    """
    if not mask.any():
        return mask
    box = box_slices(*bounding_box(mask, 2))
    # a border of the image is no surface of the brain: edges repeat
    inside = np.pad(mask[box], 4, mode="edge")
    shell = inside & (ndimage.distance_transform_edt(inside, sampling=sizes) <= PEELED)
    smooth = ndimage.gaussian_filter(image[box], 1.0 / sizes)
    dark = shell & np.pad(smooth < DARK * level[box], 4, mode="edge")
    cross = ndimage.generate_binary_structure(3, 1)
    seeds = dark & ndimage.binary_dilation(~inside, cross)
    kept = inside & ~ndimage.binary_propagation(seeds, cross, mask=dark)
    labels, n_pieces = ndimage.label(~_grown(~kept, THREAD, sizes))
    if n_pieces:
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        kept &= _grown(labels == counts.argmax(), 1.5 * THREAD, sizes)
    # sulci are closed again, within what the mask was
    closed = kept | ~_grown(~_grown(kept, THREAD, sizes), THREAD, sizes)
    out = np.zeros_like(mask)
    out[box] = (ndimage.binary_fill_holes(closed) & inside)[4:-4, 4:-4, 4:-4]
    return out
