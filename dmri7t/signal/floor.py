"""The floor of the noise: magnitudes of weak signals are too large, and what takes that back.

A magnitude whose real and imaginary part have noise of standard deviation sigma is Rician
(Gudbjartsson & Patz 1995, MRM 34:910): its mean is above the signal A by about sigma^2 / 2A, and
1.25 sigma where there is no signal at all. Filtering brings magnitudes to their mean, not to the
signal; the way back is by that of Koay & Basser 2006, JMR 179:317, for means.

Beside the floor the mean hardly depends on the signal, and errors of the mean would be enlarged
without bound. So the signal is not the one of which the mean is exactly what was found, but the
average of those of which it may be, given how well the mean is known.

No scan's residuals tell thermal noise alone; pulsation is in them, too. But no magnitude has a
mean below its floor, so the darkest places of a brain tell how high that is at most. A scan whose
floor was taken out before has none by this measure, nor has one that is not of magnitudes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from dmri7t.signal.harmonics import basis_matrix, n_coefficients, order_of

RAYLEIGH = math.sqrt(math.pi / 2)
"""Mean of a magnitude without signal over sigma."""

DEEP = 2
"""Voxels from the mask's border on that are deep in the brain, where the mask holds no air."""

ENOUGH = 500
"""So many deep voxels are looked at alone; else the whole mask is."""

DARKEST = 0.001
"""Part of them that are its darkest."""

KNOWN = 0.4
"""Standard deviation, in sigma, to which filtered signals are taken to be known."""

FAR = 15.0
"""Signals so many sigma above zero are raised by a thirtieth of a sigma, and stay as they are."""

STEP = 0.005
"""Of the tables, in sigma."""

SLAB = 16384
"""Voxels that are worked on at once: what is made of them stays in the processor's cache."""

ORDER = 4
"""Highest order of spherical harmonics that is corrected."""


def floor_of(mean_V: torch.Tensor, mask_XYZ: np.ndarray, sigma: float) -> float:
    """Standard deviation of the noise whose floor a shell's magnitudes may have.

    Parameters
    ----------
    mean_V : Tensor (V,)
        Mean of the filtered signals over directions.
    mask_XYZ : ndarray of bool
        V true voxels, C order.
    sigma : float
        Standard deviation of the noise as residuals tell it, same units.

    Returns
    -------
    float
        That, or less: no mean signal deep in the brain lies below its floor.
    """
    from scipy.ndimage import binary_erosion

    deep_V = torch.from_numpy(binary_erosion(mask_XYZ, iterations=DEEP)[mask_XYZ])
    mean_V = mean_V.cpu()
    if int(deep_V.sum()) >= ENOUGH:
        mean_V = mean_V[deep_V]
    # quantiles are of so many at most
    darkest = float(mean_V[:: len(mean_V) // 1_000_000 + 1].float().quantile(DARKEST))
    return min(sigma, max(darkest, 0.0) / RAYLEIGH)


def remove_floor(sh_CV: torch.Tensor, sigma_V: torch.Tensor) -> torch.Tensor:
    """Coefficients of the signals whose magnitudes have a mean of these coefficients.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Of the mean magnitude; orders above 4 stay as they are.
    sigma_V : Tensor (V,)
        Standard deviation of the noise, same units.

    Returns
    -------
    Tensor (C, V)
    """
    return _raised(sh_CV, sigma_V, -_excess())


def add_floor(sh_CV: torch.Tensor, sigma_V: torch.Tensor) -> torch.Tensor:
    """Coefficients (C, V) of the mean magnitude of signals: what a scanner would make of them.

    Parameters
    ----------
    sh_CV, sigma_V
        As in :func:`remove_floor`, of the signals.
    """
    return _raised(sh_CV, sigma_V, _above())


def _raised(sh_CV: torch.Tensor, sigma_V: torch.Tensor, table: np.ndarray) -> torch.Tensor:
    """Raise signals by what a table says at their heights, in sigma."""
    rows = min(len(sh_CV), n_coefficients(ORDER))
    basis_NC, inverse_CN = (torch.from_numpy(m).to(sh_CV) for m in _sphere(len(sh_CV), rows))
    values = torch.from_numpy(table).to(sh_CV)
    out_CV = sh_CV.clone()
    for first in range(0, sh_CV.shape[1], SLAB):
        slab = slice(first, first + SLAB)
        sigma_1V = sigma_V[None, slab].clamp_min(torch.finfo(sh_CV.dtype).tiny)
        height_NV = (basis_NC @ sh_CV[:, slab]) / sigma_1V
        near_V = torch.nonzero(height_NV.amin(0) < FAR).squeeze(1)
        change_NV = _look_up(height_NV[:, near_V], values) * sigma_1V[:, near_V]
        out_CV[:rows].index_add_(1, near_V + first, inverse_CN @ change_NV)
    return out_CV


def _look_up(height: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The nearest values of a table at heights in sigma; those of its ends beyond them."""
    place = (height / STEP).round_().clamp_(0, len(table) - 1)
    return table.take(place.long())


@lru_cache
def _above() -> np.ndarray:
    """By how much the mean magnitude is above the signal, at signals from 0 to :data:`FAR`."""
    signal = np.arange(0, FAR + STEP / 2, STEP)
    return np.asarray((_mean(signal) - signal).astype(np.float32))


@lru_cache
def _excess() -> np.ndarray:
    """By how much means of 0 to :data:`FAR` are above the average signal that they may be of."""
    mean = np.arange(0, FAR + STEP / 2, STEP)
    signal = np.arange(0, FAR + 10 * KNOWN, 4 * STEP)
    expected = _mean(signal)
    # the likeliest has weight 1, however low the mean is
    off = (expected[:, None] - mean) ** 2
    weight = np.exp((off.min(0) - off) / (2 * KNOWN**2))
    average = (weight * signal[:, None]).sum(0) / weight.sum(0)
    return np.asarray((mean - np.minimum(average, mean)).astype(np.float32))


def _mean(signal: np.ndarray) -> np.ndarray:
    """Mean of Rician magnitudes of unit sigma."""
    from scipy.special import ive

    half = signal**2 / 2
    return RAYLEIGH * ((1 + half) * ive(0, half / 2) + half * ive(1, half / 2))


@lru_cache
def _sphere(n_rows: int, n_corrected: int) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics at 50 axes all over the sphere, and the way back for the lowest of them."""
    from dipy.core.sphere import HemiSphere
    from dipy.data import get_sphere

    axes_N3 = HemiSphere.from_sphere(get_sphere(name="repulsion100")).vertices
    basis_NC = basis_matrix(axes_N3, order_of(n_rows))
    return basis_NC, np.linalg.pinv(basis_NC[:, :n_corrected])
