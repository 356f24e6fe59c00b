"""A paired acquisition: one brain, a 3T protocol, and what its scan is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import attrs
import numpy as np
import torch

from dmri7t.signal.grids import SEVEN_TO_THREE, Grid
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.resample import apply_axes
from dmri7t.simulation.fields import Axes
from dmri7t.simulation.head import Head
from dmri7t.simulation.scanner import SINC_WIDTH, PointSpread, Scanner

SUBVOXELS = 2
"""Fine samples per 7T voxel and axis."""

REACH = 3.0
"""Voxels of the coarser scan by which the fine grid surpasses a block on every side."""

SNR_RANGE = (6.0, 60.0)
"""Signal-to-noise ratio of the b0 in white matter."""

RELAXATION = (0.88, 1.12)
"""Factor on T2 of a person."""

SLICE_WIDTH = (0.68, 0.95)
"""Width of the slice profile in voxels; a box has the second moment of a Gaussian of 0.68."""

BLUR = 1.0
"""Largest blur beside the sampling, mm."""


@attrs.frozen
class Timing:
    """Echo and repetition time, seconds."""

    echo_time: float
    repetition_time: float


HCP_3T = Timing(0.0895, 5.52)
"""Sotiropoulos et al. 2013, NeuroImage 80:125."""

HCP_7T = Timing(0.0712, 7.0)
"""Vu et al. 2015, NeuroImage 122:318."""


@lru_cache(maxsize=256)
def spread_directions(n: int, seed: int = 0) -> np.ndarray:
    """Directions (n, 3) spread by electrostatic repulsion, both poles counted (Jones 1999)."""
    from dipy.core.sphere import HemiSphere, disperse_charges

    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 3))
    start = HemiSphere(xyz=vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    sphere, _ = disperse_charges(start, 200)
    return np.asarray(sphere.vertices)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Rotation matrix (3, 3), uniform."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@attrs.frozen(eq=False)
class Protocol:
    """What both scanners do with one brain.

    Parameters
    ----------
    low, high : Scanner
        3T, and the target: 7T, or the 3T scanner itself without flaws.
    voxel_sizes : ndarray (3,)
        Of the 3T scan, mm.
    ratio : float
        Voxel size of the target over that of the 3T scan.
    bval : float
        s/mm2.
    directions : ndarray (N, 3)
    n_b0 : int
    """

    low: Scanner
    high: Scanner
    voxel_sizes: np.ndarray
    ratio: float
    bval: float
    directions: np.ndarray
    n_b0: int


def seven_tesla(low: Scanner, snr: float = 40.0) -> Scanner:
    """HCP's 7T protocol for the person whom a 3T scanner measured, with its point-spread."""
    return Scanner(
        7,
        HCP_7T.echo_time,
        HCP_7T.repetition_time,
        relaxation_spread=low.relaxation_spread,
        point_spread=low.point_spread,
        snr=snr,
    )


def without_flaws(scanner: Scanner) -> Scanner:
    """The same scanner, without motion, drift, losses or errors: the target of training.

    Contrast and point-spread (in voxels) stay as they are. Those of another field hang on its
    echo time and on the person, which no network can tell from a 3T scan.
    """
    return attrs.evolve(
        scanner,
        drift=0.0,
        dropout=0.0,
        kept=(1.0, 1.0, 1.0),
        coils=1,
        motion=0.0,
        eddy=0.0,
        direction_error=0.0,
    )


def draw_protocol(rng: np.random.Generator) -> Protocol:
    """Draw a 3T protocol from what labs run, widely; its target has the same contrast."""
    size = np.exp(rng.uniform(np.log(1.0), np.log(3.0)))
    voxel = np.full(3, size)
    slices = int(rng.integers(3))
    if rng.random() < 0.3:
        voxel[slices] *= rng.uniform(1.0, min(3.0, 5.0 / size))
    kept = draw_kept(rng, slices)
    low = Scanner(
        tesla=3,
        echo_time=rng.uniform(0.055, 0.1),
        repetition_time=rng.uniform(3.0, 9.0),
        relaxation_spread=(rng.uniform(*RELAXATION), rng.uniform(*RELAXATION)),
        point_spread=draw_spread(rng, slices, kept),
        snr=draw_snr(rng),
        drift=rng.uniform(0, 0.02),
        dropout=0.05 if rng.random() < 0.1 else 0.0,
        kept=kept,
        coils=int(rng.integers(2, 5)) if rng.random() < 0.15 else 1,
        motion=rng.uniform(0, 0.3) if rng.random() < 0.4 else 0.0,
        eddy=rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0,
        direction_error=rng.uniform(0, 2.0),
    )
    ratio = SEVEN_TO_THREE if rng.random() < 0.75 else rng.uniform(0.66, 1.0)
    bval = 1000.0 if rng.random() < 0.5 else rng.uniform(500, 3100)
    directions, n_b0 = draw_directions(rng)
    return Protocol(low, without_flaws(low), voxel, ratio, bval, directions, n_b0)


def hcp_protocol(rng: np.random.Generator) -> Protocol:
    """HCP's 3T scan beside its 7T one: 1.25 and 1.05 mm, b = 1000, 90 directions and 6 b0s."""
    sinc = PointSpread(SINC_WIDTH, 0.85, 0.4)
    low = Scanner(
        3,
        HCP_3T.echo_time,
        HCP_3T.repetition_time,
        relaxation_spread=(rng.uniform(*RELAXATION), rng.uniform(*RELAXATION)),
        point_spread=(sinc, sinc, PointSpread(0.8, 0.0, 0.4)),
        snr=rng.uniform(16.0, 24.0),
        drift=0.005,
    )
    return Protocol(
        low=low,
        high=seven_tesla(low),
        voxel_sizes=np.full(3, 1.25),
        ratio=SEVEN_TO_THREE,
        bval=1000.0,
        directions=spread_directions(90) @ random_rotation(rng).T,
        n_b0=6,
    )


def draw_spread(
    rng: np.random.Generator, slices: int, kept: tuple[float, float, float]
) -> tuple[PointSpread, PointSpread, PointSpread]:
    """Draw point-spread functions: a filtered sinc within slices, a Gaussian across them.

    Parameters
    ----------
    rng : Generator
    slices : int
        Axis across the slices.
    kept : tuple of three floats
        Fraction of k-space that was sampled along each axis.
    """
    blur, filtering = rng.uniform(0, BLUR), rng.uniform(0.75, 1.0)
    across = PointSpread(rng.uniform(*SLICE_WIDTH) / kept[slices], 0.0, blur)
    spreads = [PointSpread(SINC_WIDTH / part, filtering, blur) for part in kept]
    spreads[slices] = across
    x, y, z = spreads
    return x, y, z


def draw_directions(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Draw the directions (N, 3) of a shell, 8 to 96 of them, and the number of b0s."""
    n = round(float(np.exp(rng.uniform(np.log(8), np.log(96)))))
    directions = spread_directions(n, int(rng.integers(4))) @ random_rotation(rng).T
    return directions, int(rng.choice([1, 1, 1, 2, 3, 6, 9]))


def draw_kept(rng: np.random.Generator, slices: int) -> tuple[float, float, float]:
    """Draw what fraction of k-space was sampled: mostly all, else less within the slices.

    Resampling by a preprocessing pipeline correlates the noise much as zero filling does, along
    all three axes.
    """
    kind = rng.random()
    if kind < 0.5:
        return (1.0, 1.0, 1.0)
    kept = rng.uniform(0.55, 1.0) if kind < 0.85 else rng.uniform(0.7, 1.0)
    fractions = kept * rng.uniform([1.0, 0.9, 0.9], [1.0, 1.1, 1.1])
    fractions = np.roll(fractions, int(rng.integers(3)))
    if kind < 0.85:
        fractions[slices] = 1.0
    x, y, z = (min(float(part), 1.0) for part in fractions)
    return x, y, z


def draw_snr(rng: np.random.Generator) -> float:
    """Draw a signal-to-noise ratio of the b0 in white matter."""
    return float(np.exp(rng.uniform(*np.log(SNR_RANGE))))


def other_table(protocol: Protocol, rng: np.random.Generator) -> Protocol:
    """Return the same protocol with other directions, b0s and noise level."""
    low = attrs.evolve(protocol.low, snr=draw_snr(rng))
    directions, n_b0 = draw_directions(rng)
    return attrs.evolve(protocol, low=low, directions=directions, n_b0=n_b0)


def signal_order(bval: float) -> int:
    """Order of the harmonics that carry a simulated signal at this b-value."""
    return 6 if bval <= 1300 else 8


def centred_axes(grid: Grid) -> Axes:
    """Coordinates (mm) of a grid whose axes are the scanner's."""
    return tuple(grid.affine[a, 3] + grid.affine[a, a] * np.arange(grid.shape[a]) for a in range(3))


def fine_axes(start: np.ndarray, stop: np.ndarray, step: np.ndarray) -> Axes:
    """Coordinates (mm) from start to stop, on a lattice that every block of a brain shares."""
    return tuple(
        np.arange(np.floor(start[a] / step[a]), np.ceil(stop[a] / step[a]) + 1) * step[a]
        for a in range(3)
    )


def sample(
    contrast: tuple[torch.Tensor, torch.Tensor],
    fine: Axes,
    voxels: Axes,
    sizes: np.ndarray,
    scanner: Scanner,
) -> torch.Tensor:
    """Blur and sample a contrast (b0 and shell) at voxel centres: (1 + C, X, Y, Z)."""
    matrices = [
        scanner.point_spread[a].matrix(fine[a], voxels[a], float(sizes[a])) for a in range(3)
    ]
    return torch.cat([apply_axes(part, matrices) for part in contrast])


Contrast = tuple[torch.Tensor, torch.Tensor]
"""b0 (1, X, Y, Z) and harmonics of the shell (C, X, Y, Z), not divided by it."""

Alter = Callable[[Contrast, Axes], Contrast]
"""Takes a contrast and where its voxels lie, mm; gives it with a change."""


@attrs.frozen(eq=False)
class Block:
    """A block of one brain as both scanners see it, without noise.

    Parameters
    ----------
    low : Tensor (1 + C, X, Y, Z)
        3T: b0, and harmonics of the shell (not divided by it).
    high : Tensor (1 + 15, X', Y', Z')
        The target on its own grid, order 4.
    high_on_low : Tensor (1 + 15, X, Y, Z)
        The target sampled at the 3T voxels' centres.
    depth, depth_high : Tensor
        Depth below the hull in mm, on both grids.
    """

    low: torch.Tensor
    high: torch.Tensor
    high_on_low: torch.Tensor
    depth: torch.Tensor
    depth_high: torch.Tensor


def render(
    head: Head,
    protocol: Protocol,
    low: Axes,
    high: Axes,
    order_high: int = 4,
    alter: Alter | None = None,
) -> Block:
    """Render a block.

    Parameters
    ----------
    head : Head
    protocol : Protocol
    low, high : tuple of three ndarrays
        Coordinates (mm) of the 3T and 7T voxels.
    order_high : int
        Order of the 7T harmonics to keep.
    alter : callable, optional
        Changes what both scanners see, before it is sampled.
    """
    size_low = protocol.voxel_sizes
    size_high = size_low * protocol.ratio
    start = np.array([min(low[a][0], high[a][0]) for a in range(3)]) - REACH * size_low
    stop = np.array([max(low[a][-1], high[a][-1]) for a in range(3)]) + REACH * size_low
    fine = fine_axes(start, stop, size_high / SUBVOXELS)
    tissue = head.phantom.at(fine)
    pure = head.microstructure.signals(tissue, protocol.bval, signal_order(protocol.bval))
    contrast_low = protocol.low.contrast(tissue, pure)
    contrast_high = protocol.high.contrast(tissue, pure.up_to(order_high))
    if alter is not None:
        contrast_low, contrast_high = (alter(c, fine) for c in (contrast_low, contrast_high))
    return Block(
        low=sample(contrast_low, fine, low, size_low, protocol.low),
        high=sample(contrast_high, fine, high, size_high, protocol.high),
        high_on_low=sample(contrast_high, fine, low, size_high, protocol.high),
        depth=head.phantom.depth(low),
        depth_high=head.phantom.depth(high),
    )


def volumes(sampled: torch.Tensor, directions_N3: np.ndarray, n_b0: int) -> torch.Tensor:
    """Noise-free volumes (n_b0 + N, X, Y, Z): b0s first, then the shell."""
    shape = sampled.shape[1:]
    b0 = sampled[:1].clamp_min(0)
    shell = synthesize(sampled[1:].flatten(1), directions_N3).reshape(-1, *shape).clamp_min(0)
    return torch.cat([b0.expand(n_b0, *shape), shell])
