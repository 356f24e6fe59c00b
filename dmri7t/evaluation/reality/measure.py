"""What is measured of a block of a scan, real or simulated, in the same way.

1. Tissue is classified by the block itself (:func:`classify`).
2. Every voxel gives RISH, ratios of orders, FA and MD, by tissue.
3. Every block gives metrics of contrast, of noise, of detail, and of how power lies over
   frequencies.
"""

from __future__ import annotations

import attrs
import numpy as np
import torch
from scipy import ndimage

from dmri7t.evaluation.chain import ShellScan
from dmri7t.signal.coherence import residual_correlation, smooth
from dmri7t.signal.gradients import split_directions
from dmri7t.signal.harmonics import fit, n_coefficients, plan_fit, synthesize
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.represent import floor_b0, normalize
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Shell
from dmri7t.signal.spaces import TISSUES
from dmri7t.signal.tensor import fit_tensor, fractional_anisotropy, mean_diffusivity

RIM = 2
"""Voxels at the mask's surface that are left out: there lie skull, air and the mask's errors."""

ANISOTROPIC = 0.2
"""FA of smoothed coefficients from which a voxel counts as anisotropic."""

INTERIOR = 0.8
"""Part of the 27 voxels around one in white matter that are anisotropic, at least."""

WATER = (0.8e-3, 3.0e-3)
"""Diffusivities of tissue and of free water, by which CSF is recognised, mm2/s."""

ENOUGH = 50
"""Voxels from which a tissue's median is worth something."""

BANDS = {"low": (0, 0.17), "middle": (0.17, 0.34), "high": (0.34, 0.51)}
"""Bands whose share of the power is compared, cycles a voxel."""

APART = (1, 2, 3, 4, 5)
"""Distances in voxels over which coherence is measured."""

CROPS = (1.5, 2.0)
"""How much larger the voxels are in which little detail is left."""

AXES = ("x", "y", "z")
"""Scanner axes: left to right, back to front, foot to head."""

OUTLYING = 5.0
"""Robust standard deviations from which a slice counts as outlying."""


@attrs.frozen(eq=False)
class Measured:
    """What is measured of one block.

    Parameters
    ----------
    voxels : dict
        Values (n,) by quantity and tissue; tissue "brain" is all but the rim.
    metrics : dict
        One number by quantity and tissue, or "" where it is no tissue's.
    spectra : dict
        Share of the power by frequency, see :func:`power_spectra`, by map and axis: "radial" or
        one of :data:`AXES`.
    """

    voxels: dict[tuple[str, str], np.ndarray]
    metrics: dict[tuple[str, str], float]
    spectra: dict[tuple[str, str], np.ndarray]


def measure(scan: ShellScan) -> Measured:
    """Measure one block."""
    shell = scan.represent()
    tissue_V = classify(scan, shell)
    maps = voxel_maps(scan, shell)
    tissues = {"brain": tissue_V >= 0}
    tissues |= {tissue: tissue_V == number for number, tissue in enumerate(TISSUES, 1)}
    voxels = {
        (name, tissue): values_V[inside_V].numpy()
        for name, values_V in maps.items()
        for tissue, inside_V in tissues.items()
    }
    metrics = contrast_metrics(scan, tissue_V) | noise_metrics(scan, shell, tissue_V)
    spectra = {}
    window = inside_window(scan.brain.mask)
    for name, values_V in {"b0": scan.b0_V, **maps}.items():
        if name in ("b0", "sqrt R0", "sqrt R2") and window.any():
            for axis, share in power_spectra(values_V, scan.brain.mask, window).items():
                spectra[name, axis] = share
                for band, value in band_shares(share).items():
                    metrics[f"{name}: log10 of power, {band} frequencies, {axis}", ""] = value
    if window.any():
        metrics |= detail_metrics(scan, window)
    metrics |= coherence_metrics(scan)
    return Measured(voxels, metrics, spectra)


def coherence_metrics(scan: ShellScan) -> dict[tuple[str, str], float]:
    """How alike the coefficients of order 2 are so many voxels apart: the length of bundles.

    The correlation is between coefficients that two halves of the directions give, each by
    itself, and over that of a voxel with itself: their noise is independent, so it cancels.
    Means over the three axes; nothing where a half would have too few directions.

    Parameters
    ----------
    scan : ShellScan
    """
    halves = split_directions(scan.directions_N3)
    if min(len(half) for half in halves) < n_coefficients(2):
        return {}
    normalized_NV = normalize(scan.signal_NV, scan.b0_V)
    first, second = (
        scan.brain.place(fit(normalized_NV[half], plan_fit(scan.directions_N3[half], 2, 0.0))[1:6])
        for half in halves
    )
    inside = torch.as_tensor(scan.brain.mask)
    own = float((first * second).sum(0)[inside].mean())
    metrics = {}
    for apart in APART:
        products = []
        for axis in (-3, -2, -1):
            length = inside.shape[axis] - apart
            if length < 1:
                continue
            both = inside.narrow(axis, 0, length) & inside.narrow(axis, apart, length)
            product = first.narrow(axis, 0, length) * second.narrow(axis, apart, length)
            products.append(product.sum(0)[both])
        values = torch.cat(products) if products else torch.zeros(0)
        if own > 0 and len(values) >= ENOUGH:
            name = f"coherence of order 2, {apart} voxel{'s' * (apart > 1)} apart"
            metrics[name, ""] = float(values.mean()) / own
    return metrics


def detail_metrics(scan: ShellScan, window: np.ndarray) -> dict[tuple[str, str], float]:
    """Percentage of order 2's energy that a coarser scan would keep, noise left out.

    Energy is the product of coefficients that two halves of the directions give, each by
    itself: their noise is independent, so what it adds is zero on average. A scan of larger
    voxels is a crop of k-space. Nothing where a half would have too few directions.

    Parameters
    ----------
    scan : ShellScan
    window : ndarray (X, Y, Z)
        Weights, see :func:`inside_window`.
    """
    halves = split_directions(scan.directions_N3)
    if min(len(half) for half in halves) < n_coefficients(2):
        return {}
    normalized_NV = normalize(scan.signal_NV, scan.b0_V)
    spectra = []
    for half in halves:
        sh_CV = fit(normalized_NV[half], plan_fit(scan.directions_N3[half], 2, 0.0))
        volume = scan.brain.place(sh_CV[1:])
        spectra.append(np.fft.fftn(volume.numpy() * window, axes=(1, 2, 3)))
    power = (spectra[0] * spectra[1].conj()).real.sum(0)
    highest = np.maximum.reduce(_waves(scan.brain.mask.shape))
    return {
        (f"order 2 kept in voxels {factor:g} times larger, percent", ""): float(
            100 * power[highest < 0.5 / factor].sum() / power.sum()
        )
        for factor in CROPS
    }


def smoothed_coefficients(scan: ShellScan, shell: Shell) -> torch.Tensor:
    """Coefficients up to order 4 (C, V), each averaged once with its neighbours in the mask."""
    weight = smooth(torch.as_tensor(scan.brain.mask).float()).clamp_min(1e-6)
    return scan.brain.pick(smooth(scan.brain.place(shell.sh_CV[:15])) / weight)


def classify(scan: ShellScan, shell: Shell) -> torch.Tensor:
    """Classify tissue by the shell alone, (V,): 1 GM, 2 WM, 3 CSF, 0 neither, -1 the rim.

    Coefficients are smoothed once with their neighbours. CSF is where their mean signal is that
    of a voxel half of whose b0 is free water, or lower. White matter is where four fifths of the
    27 voxels around are anisotropic (FA of the smoothed signal at least 0.2), so that its border
    is left out. Grey matter is where fewer than half are: it holds crossings and thin white
    matter too. The rest is neither.
    """
    sh_CV = smoothed_coefficients(scan, shell)[:6]
    mean_V = sh_CV[0] / np.sqrt(4 * np.pi)
    fluid = mean_V <= np.exp(-scan.bval * np.array(WATER)).mean()
    fa_V, _ = _tensor(synthesize(sh_CV, scan.directions_N3).clamp_min(0), scan)
    anisotropic = np.zeros(scan.brain.mask.shape, np.float32)
    anisotropic[scan.brain.mask] = (fa_V >= ANISOTROPIC) & ~fluid
    around = ndimage.uniform_filter(anisotropic, 3, mode="nearest")
    around_V = torch.as_tensor(around[scan.brain.mask])
    tissue_V = torch.where(around_V >= INTERIOR, 2, torch.where(around_V < 0.5, 1, 0))
    tissue_V = torch.where(fluid, 3, tissue_V)
    return torch.where(torch.as_tensor(_inner(scan.brain.mask)[scan.brain.mask]), tissue_V, -1)


def _inner(mask: np.ndarray) -> np.ndarray:
    """The mask without its rim; the border of the block is no surface."""
    return ndimage.binary_erosion(mask, iterations=RIM, border_value=1)


def _tensor(normalized_NV: torch.Tensor, scan: ShellScan) -> tuple[torch.Tensor, torch.Tensor]:
    """FA and MD (V,) of signals over the b0."""
    with_b0 = torch.cat([torch.ones_like(normalized_NV[:1]), normalized_NV])
    bvals = np.array([0.0, *[scan.bval] * len(normalized_NV)])
    directions = np.concatenate([np.zeros((1, 3)), scan.directions_N3])
    tensor_6V = fit_tensor(with_b0, bvals, directions)
    return fractional_anisotropy(tensor_6V), mean_diffusivity(tensor_6V)


def voxel_maps(scan: ShellScan, shell: Shell) -> dict[str, torch.Tensor]:
    """Quantities of every voxel, (V,) each, by name; MD in 1e-3 mm2/s.

    Roots of RISH as they are, debiased, and of smoothed coefficients, where little noise is left.
    Ratios of orders are taken where the lower order is not nearly zero.
    """
    kinds = {
        "": shell.rish_3V.sqrt(),
        " debiased": shell.debiased_3V.sqrt(),
        " smoothed": rish(smoothed_coefficients(scan, shell)).sqrt(),
    }
    orders = ORDERS[: shell.n_orders]
    maps = {
        f"sqrt R{order}{kind}": root_LV[row]
        for row, order in enumerate(orders)
        for kind, root_LV in kinds.items()
    }
    least_L = 0.05 * kinds[""].median(1).values
    for row in range(1, len(orders)):
        for kind in (" debiased", " smoothed"):
            upper_V, lower_V = kinds[kind][row], kinds[kind][row - 1]
            name = f"sqrt(R{orders[row]}/R{orders[row - 1]}){kind}"
            maps[name] = upper_V / lower_V.clamp_min(float(least_L[row - 1]))
    fa_V, md_V = _tensor(normalize(scan.signal_NV, scan.b0_V), scan)
    return maps | {"FA": fa_V, "MD": md_V * 1e3}


def contrast_metrics(scan: ShellScan, tissue_V: torch.Tensor) -> dict[tuple[str, str], float]:
    """Share of each tissue in the brain, and its b0 over that of white matter."""
    n_brain = max(float((tissue_V >= 0).sum()), 1.0)
    out, b0 = {}, {}
    for number, tissue in enumerate(TISSUES, 1):
        inside = tissue_V == number
        out["share of the brain", tissue] = float(inside.sum()) / n_brain
        if inside.sum() >= ENOUGH:
            b0[tissue] = float(scan.b0_V[inside].median())
    for tissue in ("GM", "CSF"):
        if tissue in b0 and "WM" in b0:
            out["b0 over that of WM", tissue] = b0[tissue] / b0["WM"]
    return out


def tissue_snr(scan: ShellScan) -> float | None:
    """b0 of grey matter over the residuals there, where least of them is unfitted signal.

    Of all voxels where there is too little grey matter; None where residuals tell nothing.
    """
    shell = scan.represent()
    metrics = noise_metrics(scan, shell, classify(scan, shell))
    for key in (("residuals over b0", "GM"), ("sigma over b0", "")):
        if metrics.get(key, 0) > 0:
            return 1 / metrics[key]
    return None


def noise_metrics(
    scan: ShellScan, shell: Shell, tissue_V: torch.Tensor
) -> dict[tuple[str, str], float]:
    """Residuals of the fit: level, correlation, tails, drift of volumes, outlying slices.

    Nothing where there are as many coefficients as directions, as with six: what such a fit
    leaves is its penalty's.
    """
    plan, inside_V = shell.plan, tissue_V >= 0
    if plan.n_directions <= n_coefficients(plan.order) or inside_V.sum() < ENOUGH:
        return {}
    # in units of the scanner, where the noise is the same in every voxel
    signal_NV = normalize(scan.signal_NV, scan.b0_V) * floor_b0(scan.b0_V)
    residual_NV = torch.as_tensor(plan.residual_NN, dtype=signal_NV.dtype) @ signal_NV
    out = {("sigma over b0", ""): float(shell.sigma_V.median())}
    power_V = residual_NV.square().sum(0) / plan.residual_dof
    for number, tissue in enumerate(TISSUES, 1):
        here = tissue_V == number
        if here.sum() >= ENOUGH:
            level = power_V[here].median().sqrt() / scan.b0_V[here].median()
            out["residuals over b0", tissue] = float(level)
    correlation = residual_correlation(scan.signal_NV, scan.brain.mask, plan)
    for axis, value in zip(AXES, correlation, strict=True):
        out[f"correlation of residuals, {axis}", ""] = value
    spread_N1 = np.sqrt((plan.residual_NN**2).sum(1))[:, None]
    out |= tail_metrics(residual_NV[:, inside_V].numpy() / spread_N1)
    share_NV = (residual_NV * (signal_NV - residual_NV))[:, inside_V]
    energy_NV = (signal_NV - residual_NV)[:, inside_V].square()
    scale = plan.n_directions / plan.residual_dof
    drift_N = share_NV.sum(1) / energy_NV.sum(1)
    spread = float((drift_N.square().mean() * scale).sqrt())
    out["drift of intensity between volumes, percent", ""] = 100 * spread
    z_V = np.nonzero(scan.brain.mask)[2][inside_V.numpy()]
    out["outlying slices, percent", ""] = outlying(share_NV.numpy(), energy_NV.numpy(), z_V)
    return out


def tail_metrics(values: np.ndarray) -> dict[tuple[str, str], float]:
    """How heavy the tails of residuals are: normal noise of one level has 0.006 percent and 0."""
    robust = max(1.4826 * float(np.median(np.abs(values))), 1e-12)
    # a single voxel must not rule the fourth power
    clipped = np.clip(values / robust, -10, 10)
    kurtosis = float((clipped**4).mean() / (clipped**2).mean() ** 2 - 3)
    beyond = 100 * float((np.abs(values) > 4 * robust).mean())
    return {
        ("residuals beyond 4 sigma, percent", ""): beyond,
        ("excess kurtosis of residuals", ""): kurtosis,
    }


def outlying(share_NV: np.ndarray, energy_NV: np.ndarray, z_V: np.ndarray) -> float:
    """Percentage of slices of single volumes whose intensity lies far from that of all others.

    Parameters
    ----------
    share_NV, energy_NV : ndarray (N, V)
        Residual times fitted signal, and fitted signal squared.
    z_V : ndarray of int (V,)
        Slice of each voxel.
    """
    counted = np.bincount(z_V) >= ENOUGH
    drift_NZ = np.array(
        [
            np.bincount(z_V, share)[counted] / np.maximum(np.bincount(z_V, energy)[counted], 1e-12)
            for share, energy in zip(share_NV, energy_NV, strict=True)
        ]
    )
    if not drift_NZ.size:
        return 0.0
    far = np.abs(drift_NZ - np.median(drift_NZ))
    return 100 * float((far > OUTLYING * max(1.4826 * np.median(far), 1e-6)).mean())


def inside_window(mask: np.ndarray) -> np.ndarray:
    """Smooth weights (X, Y, Z) that fall to zero at the block's border and the mask's surface."""
    inner = _inner(mask).astype(np.float32)
    window = ndimage.gaussian_filter(inner, 1.5, mode="nearest") * inner
    for axis, n in enumerate(mask.shape):
        window = window * np.hanning(n + 2)[1:-1].reshape(
            [-1 if a == axis else 1 for a in (0, 1, 2)]
        )
    return window


def frequencies(n_bins: int) -> np.ndarray:
    """Frequencies of the bins of a spectrum (n_bins,), cycles a voxel, up to one half.

    Examples
    --------
    >>> frequencies(4).tolist()
    [0.125, 0.25, 0.375, 0.5]
    """
    return np.arange(1, n_bins + 1) / (2 * n_bins)


def power_spectra(
    values_V: torch.Tensor, mask: np.ndarray, window: np.ndarray
) -> dict[str, np.ndarray]:
    """Share of a map's power by frequency, radially and along each axis.

    The weighted mean is taken off first. A bin for each wave that fits into the block's shortest
    edge (see :func:`frequencies`) gives the mean power of its waves over the sum of all bins.
    Along an axis, only waves that run within 45 degrees of it are counted.

    Parameters
    ----------
    values_V : Tensor (V,)
    mask : ndarray (X, Y, Z) of bool
    window : ndarray (X, Y, Z)
        Weights, see :func:`inside_window`.
    """
    volume = np.zeros(mask.shape)
    volume[mask] = values_V.numpy()
    volume = (volume - (volume * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fftn(volume)) ** 2
    waves = _waves(mask.shape)
    radius = np.sqrt(sum(wave**2 for wave in waves))
    n_bins = min(mask.shape) // 2
    out = {"radial": _binned(power, radius, radius <= 0.5, n_bins)}
    for axis, wave in zip(AXES, waves, strict=True):
        out[axis] = _binned(power, wave, wave >= radius * np.sqrt(0.5), n_bins)
    return out


def _waves(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Frequency along each axis, cycles a voxel, without sign: three volumes (X, Y, Z)."""
    return list(np.meshgrid(*[np.abs(np.fft.fftfreq(n)) for n in shape], indexing="ij"))


def _binned(
    power: np.ndarray, frequency: np.ndarray, counted: np.ndarray, n_bins: int
) -> np.ndarray:
    """Mean power of the waves in each bin, over the sum of the means; the constant is left out."""
    bin_of_wave = np.round(frequency[counted] * 2 * n_bins).astype(int)
    total = np.bincount(bin_of_wave, power[counted], minlength=n_bins + 1)[1:]
    mean = total / np.maximum(np.bincount(bin_of_wave, minlength=n_bins + 1)[1:], 1)
    return mean / max(mean.sum(), 1e-30)


def band_shares(share: np.ndarray) -> dict[str, float]:
    """log10 of the share of power in each of :data:`BANDS`."""
    frequency = frequencies(len(share))
    return {
        band: float(np.log10(max(share[(frequency > low) & (frequency <= high)].sum(), 1e-12)))
        for band, (low, high) in BANDS.items()
    }
