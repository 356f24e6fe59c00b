"""What simulated training scans do not hold: lesions, lost slices, empty slabs, voids.

Every fault is a function of a shell's volumes; it gives a changed copy, and where it lies.
Tissue that is put in has noise of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch

from dmri7t.signal.shell import Brain
from dmri7t.simulation.scanner import add_noise


@attrs.frozen(eq=False)
class Volumes:
    """A measured shell on its grid.

    Parameters
    ----------
    b0 : Tensor (X, Y, Z)
        Mean b0.
    signal : Tensor (N, X, Y, Z)
    brain : Brain
    bval : float
        s/mm2.
    sigma : float
        Noise of one volume, in the units of the scan.
    n_b0 : int
        How many volumes were averaged for the mean b0.
    """

    b0: torch.Tensor
    signal: torch.Tensor
    brain: Brain
    bval: float
    sigma: float
    n_b0: int = 1


@attrs.frozen
class Lesion:
    """A ball of tissue in which water moves alike in all directions.

    Parameters
    ----------
    diffusivity : float
        mm2/s.
    b0_factor : float
        Its b0 over that of the tissue that was there.
    radius : float
        mm.
    """

    diffusivity: float
    b0_factor: float = 1.0
    radius: float = 12.0


STROKE = Lesion(0.4e-3, 1.2)
"""Acute ischaemia: water hardly moves (Lansberg et al. 2001, AJNR 22:637)."""

OEDEMA = Lesion(1.5e-3, 1.5, 20.0)
"""Vasogenic oedema (Schaefer et al. 2000, Radiology 217:331)."""

CYST = Lesion(2.7e-3, 2.5, 20.0)
"""A cavity whose water is nearly free."""


def ball(volumes: Volumes, centre: Sequence[float], radius: float) -> np.ndarray:
    """Voxels (X, Y, Z) of the mask within a radius (mm) of a centre (voxels)."""
    brain = volumes.brain
    indices = np.meshgrid(*map(np.arange, brain.mask.shape), indexing="ij")
    offsets = [(i - c) * s for i, c, s in zip(indices, centre, brain.voxel_sizes, strict=True)]
    return (sum(o**2 for o in offsets) <= radius**2) & brain.mask


def put_lesion(volumes: Volumes, region_XYZ: np.ndarray, lesion: Lesion, seed: int = 0) -> Volumes:
    """Replace the tissue of a region."""
    inside = torch.as_tensor(region_XYZ)
    b0, signal = volumes.b0.clone(), volumes.signal.clone()
    generator = torch.Generator().manual_seed(seed)
    clean = float(lesion.b0_factor * b0[inside].median()) * torch.ones(1, int(inside.sum()), 1, 1)
    b0[inside] = add_noise(clean, volumes.sigma / volumes.n_b0**0.5, generator).flatten()
    decayed = (clean * float(np.exp(-volumes.bval * lesion.diffusivity))).expand(
        len(signal), -1, -1, -1
    )
    signal[:, inside] = add_noise(decayed, volumes.sigma, generator)[..., 0, 0]
    return attrs.evolve(volumes, b0=b0, signal=signal)


def empty_slab(volumes: Volumes, first: int, n: int, axis: int = 2) -> Volumes:
    """Set ``n`` neighbouring slices of every volume of the shell to zero."""
    signal = volumes.signal.clone()
    signal.narrow(1 + axis, first, n).zero_()
    return attrs.evolve(volumes, signal=signal)


def lose_slices(
    volumes: Volumes, hit: Sequence[int], slices: Sequence[int], fraction: float = 0.1
) -> Volumes:
    """Drop some slices (last axis) of the volumes that are hit to a fraction of their signal."""
    signal = volumes.signal.clone()
    for volume in hit:
        signal[volume][:, :, list(slices)] *= fraction
    return attrs.evolve(volumes, signal=signal)


def put_void(volumes: Volumes, region_XYZ: np.ndarray, fraction: float) -> Volumes:
    """Drop all volumes in a region to a fraction, as near metal or air."""
    inside = torch.as_tensor(region_XYZ)
    b0, signal = volumes.b0.clone(), volumes.signal.clone()
    b0[inside] *= fraction
    signal[:, inside] *= fraction
    return attrs.evolve(volumes, b0=b0, signal=signal)


FAULTS = ("low", "high", "slab", "void")
"""Kinds of :func:`draw_fault`."""


def draw_fault(kind: str, volumes: Volumes, rng: np.random.Generator) -> tuple[Volumes, np.ndarray]:
    """Draw a fault of a kind and the region it covers, widely.

    Parameters
    ----------
    kind : str
        One of :data:`FAULTS`: lesions of low or high diffusivity, an empty slab, a void.
    volumes : Volumes
    rng : Generator

    Returns
    -------
    volumes : Volumes
    region_XYZ : ndarray of bool
    """
    mask = volumes.brain.mask
    shape = mask.shape
    if kind == "slab":
        n = int(rng.integers(2, 6))
        depth = np.flatnonzero(mask.any((0, 1)))
        first = int(np.clip(rng.choice(depth), 0, shape[2] - n))
        region_XYZ = np.zeros(shape, bool)
        region_XYZ[:, :, first : first + n] = True
        return empty_slab(volumes, first, n), region_XYZ & mask
    inside = np.argwhere(mask)
    region_XYZ = ball(volumes, inside[rng.integers(len(inside))], rng.uniform(7.0, 22.0))
    if kind == "void":
        return put_void(volumes, region_XYZ, rng.uniform(0.02, 0.15)), region_XYZ
    diffusivity = rng.uniform(0.15e-3, 0.45e-3) if kind == "low" else rng.uniform(1.3e-3, 3.0e-3)
    lesion = Lesion(diffusivity, rng.uniform(0.8, 2.0))
    return put_lesion(volumes, region_XYZ, lesion, int(rng.integers(2**31))), region_XYZ
