"""A scanner: relaxation at its field strength, point-spread function, noise and drift."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.resample import apply_axes
from dmri7t.simulation.anatomy import Tissue
from dmri7t.simulation.microstructure import PureSignals

PROTON_DENSITY = {"wm": 0.70, "gm": 0.82, "csf": 1.0, "scalp": 0.15}
"""Water content of tissues relative to CSF."""

T1 = {
    3: {"wm": 0.85, "gm": 1.35, "csf": 4.2, "scalp": 0.4},
    7: {"wm": 1.20, "gm": 1.95, "csf": 4.4, "scalp": 0.5},
}
"""Seconds, by field strength in tesla (Rooney et al. 2007, MRM 57:308; at 3 T also Wansapura
et al. 1999, JMRI 9:531)."""

T2 = {
    3: {"wm": 0.080, "gm": 0.110, "csf": 1.5, "scalp": 0.06},
    7: {"wm": 0.047, "gm": 0.055, "csf": 1.0, "scalp": 0.04},
}
"""Seconds, by field strength in tesla (3 T: Wansapura et al. 1999; 7 T: spin-echo values of
Cox and Gowland 2010, MRM 64:1440)."""

SINC_WIDTH = 1.207
"""Full width at half maximum of sinc(u): the point-spread of all of k-space, in voxels."""

LANCZOS = 4
"""Samples on either side that carry a shift of a volume."""


@attrs.frozen
class PointSpread:
    """Blur of one axis.

    Parameters
    ----------
    width : float
        Full width at half maximum in units of the voxel.
    apodisation : float
        0 gives a Gaussian, 1 a sinc under a cosine-squared window; between, a mixture.
    blur : float
        Full width at half maximum, mm, of what blurs beside the sampling, whatever the voxel:
        pulsation, relaxation during the read-out, resampling.
    """

    width: float = 1.0
    apodisation: float = 0.0
    blur: float = 0.0

    def matrix(self, fine_mm: np.ndarray, voxel_mm: np.ndarray, size: float) -> np.ndarray:
        """Sampling as a matrix.

        Parameters
        ----------
        fine_mm : ndarray (n,)
            Coordinates of the fine samples, mm.
        voxel_mm : ndarray (m,)
            Centres of the voxels, mm.
        size : float
            Edge of a voxel, mm.

        Returns
        -------
        ndarray (m, n), rows sum to one.
        """
        # widths of blurs in a row add in quadrature
        u = (voxel_mm[:, None] - fine_mm[None]) / np.hypot(size * self.width, self.blur)
        # beyond three widths nothing is left but numbers too small to multiply quickly
        gauss = np.where(np.abs(u) < 3, np.exp(-4 * np.log(2) * u**2), 0.0)
        window = np.where(np.abs(u) < 2.5, np.cos(np.pi * u / 5) ** 2, 0.0)
        sinc = np.sinc(SINC_WIDTH * u) * window
        rows = gauss / gauss.sum(1, keepdims=True) * (1 - self.apodisation)
        return rows + sinc / sinc.sum(1, keepdims=True) * self.apodisation


@attrs.frozen
class Scanner:
    """How a brain is measured.

    Parameters
    ----------
    tesla : int
        3 or 7.
    echo_time, repetition_time : float
        Seconds.
    relaxation_spread : tuple of float (wm, gm)
        Factors on T2 of this subject.
    point_spread : tuple of three PointSpread
    snr : float
        Of the b0 in white matter.
    drift : float
        Standard deviation of the intensity between volumes, over its mean.
    dropout : float
        Probability that a volume has slices of reduced signal.
    kept : tuple of three floats
        Fraction of k-space that was sampled along each axis; the rest was filled with zeros.
    coils : int
        Channels whose magnitudes were combined by their sum of squares; 1 gives Rician noise.
    motion : float
        Standard deviation of what motion remains along each axis, voxels.
    eddy : float
        Standard deviation of the shift by eddy currents that a unit gradient along each axis
        causes along the phase encoding, voxels.
    direction_error : float
        Standard deviation, in degrees, of how far the true gradients are from the stated ones.
    """

    tesla: int
    echo_time: float
    repetition_time: float
    relaxation_spread: tuple[float, float]
    point_spread: tuple[PointSpread, PointSpread, PointSpread]
    snr: float
    drift: float = 0.0
    dropout: float = 0.0
    kept: tuple[float, float, float] = (1.0, 1.0, 1.0)
    coils: int = 1
    motion: float = 0.0
    eddy: float = 0.0
    direction_error: float = 0.0

    def weights(self) -> dict[str, float]:
        """Spin-echo b0 signal of each pure tissue: PD (1 - exp(-TR / T1)) exp(-TE / T2)."""
        spread = {"wm": self.relaxation_spread[0], "gm": self.relaxation_spread[1]}
        return {
            tissue: density
            * (1 - np.exp(-self.repetition_time / T1[self.tesla][tissue]))
            * np.exp(-self.echo_time / (T2[self.tesla][tissue] * spread.get(tissue, 1.0)))
            for tissue, density in PROTON_DENSITY.items()
        }

    def contrast(self, tissue: Tissue, pure: PureSignals) -> tuple[torch.Tensor, torch.Tensor]:
        """Signal before sampling.

        Parameters
        ----------
        tissue : Tissue
        pure : PureSignals

        Returns
        -------
        b0 : Tensor (1, X, Y, Z)
        shell : Tensor (C, X, Y, Z)
        """
        w = {name: float(value) for name, value in self.weights().items()}
        shell = pure.wm * (w["wm"] * tissue.wm)
        shell[: len(pure.gm)] += pure.gm * (w["gm"] * tissue.gm)
        shell[0] += w["csf"] * pure.csf * tissue.csf + w["scalp"] * pure.scalp * tissue.scalp
        b0 = torch.zeros_like(tissue.csf)
        for name, weight in w.items():
            b0 = b0 + weight * getattr(tissue, name)
        return b0[None], shell

    def sigma(self) -> float:
        """Noise of one volume, in the units of :meth:`contrast`."""
        return float(self.weights()["wm"] / self.snr)


def band_limit(n: int, kept: float) -> torch.Tensor:
    """Matrix (n, n) that removes the highest frequencies of n samples.

    Parameters
    ----------
    n : int
    kept : float
        Fraction of the frequencies that pass.
    """
    passed = (np.abs(np.fft.fftfreq(n)) <= kept / 2).astype(float)
    matrix = np.fft.ifft(passed[:, None] * np.fft.fft(np.eye(n), axis=0), axis=0).real
    return torch.from_numpy(matrix).float()


def _noise(
    shape: torch.Size, kept: tuple[float, float, float], generator: torch.Generator
) -> torch.Tensor:
    """Normal numbers of unit variance (N, X, Y, Z), correlated by zero filling."""
    noise = torch.randn(shape, generator=generator)
    if min(kept) == 1:
        return noise
    matrices = [band_limit(n, part) for n, part in zip(shape[1:], kept, strict=True)]
    # what passes of unit variance is the matrix's mean diagonal
    share = float(np.prod([float(m.diagonal().mean()) for m in matrices]))
    return apply_axes(noise, matrices) / share**0.5


def add_noise(
    volumes: torch.Tensor,
    sigma: torch.Tensor | float,
    generator: torch.Generator,
    kept: tuple[float, float, float] = (1.0, 1.0, 1.0),
    coils: int = 1,
) -> torch.Tensor:
    """Magnitude of volumes (N, X, Y, Z) with complex noise of standard deviation sigma.

    Rician for one coil, non-central chi for more (Constantinides et al. 1997, MRM 38:852).

    Parameters
    ----------
    volumes : Tensor (N, X, Y, Z)
    sigma : Tensor (X, Y, Z) or float
    generator : Generator
    kept, coils
        See :class:`Scanner`.
    """
    power = (volumes + sigma * _noise(volumes.shape, kept, generator)).square_()
    for _ in range(2 * coils - 1):
        power += (sigma * _noise(volumes.shape, kept, generator)).square_()
    return power.sqrt_()


def shift_matrix(n: int, shift: float) -> torch.Tensor:
    """Matrix (n, n) that reads n samples ``shift`` samples further on, by Lanczos' kernel.

    Linear weights would blur: 0.15 voxels along each axis take a quarter of the RISH of order 2.
    Beyond the ends the last sample is carried on.
    """
    taps = round(shift) + np.arange(-LANCZOS, LANCZOS + 1)
    away = taps - shift
    weights = np.where(np.abs(away) < LANCZOS, np.sinc(away) * np.sinc(away / LANCZOS), 0.0)
    rows, index = np.zeros((n, n)), np.arange(n)
    for tap, weight in zip(taps, weights / weights.sum(), strict=True):
        np.add.at(rows, (index, np.clip(index + tap, 0, n - 1)), weight)
    return torch.from_numpy(rows).float()


def draw_shifts(
    directions_N3: np.ndarray, n_b0: int, scanner: Scanner, rng: np.random.Generator
) -> np.ndarray:
    """Draw where the head lies in every volume: voxels, (n_b0 + N, 3), b0s first.

    Eddy currents grow with the diffusion gradient and shift the image along the phase encoding
    (Jezzard et al. 1998, MRM 39:801), here by as much everywhere in a block.
    """
    shifts = scanner.motion * rng.standard_normal((n_b0 + len(directions_N3), 3))
    per_gradient = scanner.eddy * rng.standard_normal(3)
    shifts[n_b0:, rng.integers(3)] += directions_N3 @ per_gradient
    return shifts


def move(volumes: torch.Tensor, shifts_N3: np.ndarray) -> torch.Tensor:
    """Shift every volume of (N, X, Y, Z) by some voxels along each axis."""
    if not shifts_N3.any():
        return volumes
    moved = torch.empty_like(volumes)
    for i, shift_3 in enumerate(shifts_N3):
        matrices = [
            shift_matrix(n, s) for n, s in zip(volumes.shape[1:], shift_3.tolist(), strict=True)
        ]
        moved[i] = apply_axes(volumes[i], matrices)
    return moved


def true_directions(
    directions_N3: np.ndarray, error: float, rng: np.random.Generator
) -> np.ndarray:
    """Directions (N, 3) at which the scanner measured: off the stated ones by some degrees."""
    if not error:
        return directions_N3
    turned = directions_N3 + np.deg2rad(error) * rng.standard_normal(directions_N3.shape)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


def add_flaws(volumes: torch.Tensor, scanner: Scanner, generator: torch.Generator) -> torch.Tensor:
    """Drift of intensity between volumes, and slices (last axis) that lost signal.

    Parameters
    ----------
    volumes : Tensor (N, X, Y, Z)
    """
    n, slices = volumes.shape[0], volumes.shape[-1]
    drift = 1 + scanner.drift * torch.randn(n, generator=generator)
    hit = torch.rand(n, generator=generator) < scanner.dropout
    lost = (torch.rand(n, slices, generator=generator) < 0.1) & hit[:, None]
    depth = 0.3 + 0.6 * torch.rand(n, slices, generator=generator)
    factor_NZ = drift[:, None] * torch.where(lost, depth, 1.0)
    return volumes * factor_NZ[:, None, None, :]
