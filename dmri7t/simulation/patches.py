"""Training examples: small blocks of ever new brains, measured by ever new protocols."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch

from dmri7t.signal.coherence import coherent_rish
from dmri7t.signal.describe import Description, describe
from dmri7t.signal.represent import floor_b0, represent
from dmri7t.signal.rish import rish
from dmri7t.simulation.acquisition import (
    Protocol,
    draw_protocol,
    other_table,
    render,
    volumes,
)
from dmri7t.simulation.anatomy import Phantom
from dmri7t.simulation.fields import Axes, SmoothField
from dmri7t.simulation.microstructure import Microstructure
from dmri7t.simulation.scanner import (
    add_flaws,
    add_noise,
    draw_shifts,
    move,
    true_directions,
)

PATCH = 32
"""Edge of a patch in 3T voxels."""

WIDE_MASKS = 0.1
"""Chance of a mask that reaches into the skull, as those of real scans may."""


@attrs.frozen(eq=False)
class Patch:
    """One pair, represented as the app represents a scan.

    Parameters
    ----------
    rish : Tensor (3, X, Y, Z)
        R_0, R_2, R_4 of the noisy 3T scan; zero outside the mask.
    noise : Tensor (3, X, Y, Z)
        The noise's expected share of them.
    coherent : Tensor (9, X, Y, Z)
        RISH together with the neighbours.
    described : Description
        The 3T shell in numbers.
    mask : Tensor (X, Y, Z) bool
    target : Tensor (3, X, Y, Z)
        RISH of the noise-free target at the 3T voxels.
    target_high : Tensor (3, X', Y', Z')
        The same on the 7T grid.
    mask_high : Tensor (X', Y', Z') bool
    axes_low, axes_high : tuple of three ndarrays
        Coordinates of both grids in mm.
    signal, b0 : Tensor (N, X, Y, Z), (X, Y, Z)
        The noisy 3T shell and mean b0 themselves.
    protocol : Protocol
    high : Tensor (1 + 15, X', Y', Z')
        Noise-free b0 and harmonics of the target.
    """

    rish: torch.Tensor
    noise: torch.Tensor
    coherent: torch.Tensor
    described: Description
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
    directions = true_directions(protocol.directions, protocol.low.direction_error, rng)
    shifts = draw_shifts(directions, protocol.n_b0, protocol.low, rng)
    clean = move(volumes(sampled, directions, protocol.n_b0), shifts)
    clean = add_flaws(clean * torch.exp(0.25 * profile), protocol.low, generator)
    sigma = protocol.low.sigma() * torch.exp(0.12 * g_factor)
    return add_noise(clean, sigma, generator, protocol.low.kept, protocol.low.coils)


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
    brain, micro = Phantom.draw(rng), Microstructure.draw(rng)
    protocol = draw_protocol(rng) if protocol is None else protocol
    centre = _centre_inside(brain, protocol, size, rng)
    low, high = block_axes(centre, size, protocol)
    block = render(brain, micro, protocol, low, high)
    edge = rng.uniform(-9.0, -1.0) if rng.random() < WIDE_MASKS else rng.uniform(-1.0, 1.5)
    mask, mask_high = block.depth > edge, block.depth_high > edge
    target = normalized_rish(block.high_on_low, mask)
    target_high = normalized_rish(block.high, mask_high)
    patches = []
    for scan in range(n_scans):
        if scan:
            protocol = other_table(protocol, rng)
        patches.append(
            Patch(
                **_scan(block.low, mask, low, protocol, rng),
                mask=mask,
                target=target,
                target_high=target_high,
                mask_high=mask_high,
                axes_low=low,
                axes_high=high,
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
) -> dict[str, Any]:
    """Measure and represent: the fields of :class:`Patch` that one scan fills."""
    noisy = measure(sampled, protocol, axes, rng)
    b0, shell = noisy[: protocol.n_b0].mean(0), noisy[protocol.n_b0 :]
    signal_NV, inside = shell[:, mask], mask.numpy()
    rep = represent(signal_NV, b0[mask], protocol.directions, protocol.n_b0)
    maps = {
        "rish": rep.rish_LV,
        "noise": rep.noise_LV,
        "coherent": coherent_rish(rep.sh_CV, inside),
    }
    placed = {name: torch.zeros(len(values), *mask.shape) for name, values in maps.items()}
    for name, values in maps.items():
        placed[name][:, mask] = values
    described = describe(signal_NV, rep, protocol.bval, inside, protocol.voxel_sizes)
    return {**placed, "described": described, "b0": b0, "signal": shell}


def _centre_inside(
    brain: Phantom, protocol: Protocol, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Find a centre (3,) in mm such that at least a quarter of the block is brain."""
    while True:
        centre = rng.uniform(-0.9, 0.9, 3) * brain.semi_axes
        low, _ = block_axes(centre, size, protocol)
        coarse = tuple(axis[:: max(size // 8, 1)] for axis in low)
        if (brain.depth(coarse) > 0).float().mean() > 0.25:
            return centre
