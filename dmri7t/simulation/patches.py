"""Training examples: small blocks of ever new brains, measured by ever new protocols."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.represent import floor_b0, represent
from dmri7t.signal.rish import rish
from dmri7t.simulation.acquisition import (
    Protocol,
    draw_protocol,
    other_table,
    render,
    volumes,
)
from dmri7t.simulation.anatomy import Brain
from dmri7t.simulation.fields import Axes, SmoothField
from dmri7t.simulation.microstructure import Microstructure
from dmri7t.simulation.scanner import add_flaws, add_noise

PATCH = 32
"""Edge of a patch in 3T voxels."""


@attrs.frozen(eq=False)
class Patch:
    """One pair, represented as the app represents a scan.

    Parameters
    ----------
    rish : Tensor (3, X, Y, Z)
        R_0, R_2, R_4 of the noisy 3T scan; zero outside the mask.
    noise : Tensor (3, X, Y, Z)
        The noise's expected share of them.
    mask : Tensor (X, Y, Z) bool
    target : Tensor (3, X, Y, Z)
        RISH of the noise-free 7T scan at the 3T voxels.
    target_high : Tensor (3, X', Y', Z')
        The same on the 7T grid.
    mask_high : Tensor (X', Y', Z') bool
    axes_low, axes_high : tuple of three ndarrays
        Coordinates of both grids in mm.
    signal, b0 : Tensor (N, X, Y, Z), (X, Y, Z)
        The noisy 3T shell and mean b0 themselves.
    protocol : Protocol
    high : Tensor (1 + 15, X', Y', Z')
        Noise-free 7T b0 and harmonics.
    """

    rish: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor
    target: torch.Tensor
    target_high: torch.Tensor
    mask_high: torch.Tensor
    axes_low: Axes
    axes_high: Axes
    signal: torch.Tensor
    b0: torch.Tensor
    protocol: Protocol
    high: torch.Tensor


def block_axes(
    centre: np.ndarray, size: int | tuple[int, int, int], protocol: Protocol
) -> tuple[Axes, Axes]:
    """Coordinates (mm) of a block's voxels at 3T and at 7T, over the same field of view."""
    size = np.broadcast_to(size, 3)
    step = protocol.voxel_sizes
    n_high = np.maximum(np.floor(size / protocol.ratio + 1e-6), 1).astype(int)
    low = tuple(centre[a] + (np.arange(size[a]) - (size[a] - 1) / 2) * step[a] for a in range(3))
    high = tuple(
        centre[a] + (np.arange(n_high[a]) - (n_high[a] - 1) / 2) * step[a] * protocol.ratio
        for a in range(3)
    )
    return low, high


def normalized_rish(sampled: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """RISH (3, X, Y, Z) of sampled b0 and harmonics, zero outside the mask."""
    b0_V = floor_b0(sampled[0][mask])
    out = torch.zeros(3, *mask.shape)
    out[:, mask] = rish(sampled[1:16][:, mask] / b0_V)
    return out


def measure(
    sampled: torch.Tensor, protocol: Protocol, axes: Axes, rng: np.random.Generator
) -> torch.Tensor:
    """Give noise-free samples a receive profile, flaws and noise: volumes (n_b0 + N, X, Y, Z)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    half = np.array([max(np.abs(a).max(), 40) for a in axes])
    profile, g_factor = SmoothField.draw(rng, 60.0, half, 2).at(axes)
    clean = volumes(sampled, protocol.directions, protocol.n_b0)
    clean = add_flaws(clean * torch.exp(0.25 * profile), protocol.low, generator)
    sigma = protocol.low.sigma() * torch.exp(0.12 * g_factor)
    return add_noise(clean, sigma, generator)


def draw_patches(
    seed: int, size: int = PATCH, protocol: Protocol | None = None, n_scans: int = 1
) -> list[Patch]:
    """Draw examples; the same seed gives the same ones.

    Parameters
    ----------
    seed : int
    size : int
        Edge in 3T voxels.
    protocol : Protocol, optional
        Default: drawn too.
    n_scans : int
        How often the same block is scanned, each time with directions, b0s and noise of its own:
        rendering costs far more than measuring.
    """
    rng = np.random.default_rng(seed)
    brain, micro = Brain.draw(rng), Microstructure.draw(rng)
    protocol = draw_protocol(rng) if protocol is None else protocol
    centre = _centre_inside(brain, protocol, size, rng)
    low, high = block_axes(centre, size, protocol)
    block = render(brain, micro, protocol, low, high)
    edge = rng.uniform(-1.0, 1.5)
    mask, mask_high = block.depth > edge, block.depth_high > edge
    target = normalized_rish(block.high_on_low, mask)
    target_high = normalized_rish(block.high, mask_high)
    patches = []
    for scan in range(n_scans):
        if scan:
            protocol = other_table(protocol, rng)
        b0, shell, rish_low, noise_low = _scan(block.low, mask, low, protocol, rng)
        patches.append(
            Patch(
                rish=rish_low,
                noise=noise_low,
                mask=mask,
                target=target,
                target_high=target_high,
                mask_high=mask_high,
                axes_low=low,
                axes_high=high,
                signal=shell,
                b0=b0,
                protocol=protocol,
                high=block.high,
            )
        )
    return patches


def _scan(
    sampled: torch.Tensor,
    mask: torch.Tensor,
    axes: Axes,
    protocol: Protocol,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measure and represent: mean b0, shell, RISH and noise share, all (..., X, Y, Z)."""
    noisy = measure(sampled, protocol, axes, rng)
    b0, shell = noisy[: protocol.n_b0].mean(0), noisy[protocol.n_b0 :]
    rep = represent(shell[:, mask], b0[mask], protocol.directions, protocol.n_b0)
    rish_low, noise_low = torch.zeros(3, *mask.shape), torch.zeros(3, *mask.shape)
    rish_low[:, mask], noise_low[:, mask] = rep.rish_LV, rep.noise_LV
    return b0, shell, rish_low, noise_low


def _centre_inside(
    brain: Brain, protocol: Protocol, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Find a centre (3,) in mm such that at least a quarter of the block is brain."""
    while True:
        centre = rng.uniform(-0.9, 0.9, 3) * brain.semi_axes
        low, _ = block_axes(centre, size, protocol)
        coarse = tuple(axis[:: max(size // 8, 1)] for axis in low)
        if (brain.depth(coarse) > 0).float().mean() > 0.25:
            return centre
