"""Training examples: small blocks of ever new brains, measured by ever new protocols."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.grids import Grid
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.simulation.acquisition import (
    Protocol,
    draw_protocol,
    other_table,
    render,
    volumes,
)
from dmri7t.simulation.anatomy import Phantom
from dmri7t.simulation.fields import Axes, SmoothField
from dmri7t.simulation.head import Head
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
    shell : Shell
        The noisy 3T shell.
    target : Tensor (3, X, Y, Z)
        RISH of the noise-free target at the 3T voxels.
    target_high : Tensor (3, X', Y', Z')
        The same on the 7T grid.
    brain_high : Brain
        On the 7T grid.
    signal, b0 : Tensor (N, X, Y, Z), (X, Y, Z)
        The noisy 3T shell and mean b0 themselves, beyond the mask too.
    protocol : Protocol
    high : Tensor (1 + 15, X', Y', Z')
        Noise-free b0 and harmonics of the target.
    """

    shell: Shell
    target: torch.Tensor
    target_high: torch.Tensor
    brain_high: Brain
    signal: torch.Tensor
    b0: torch.Tensor
    protocol: Protocol
    high: torch.Tensor


def block_axes(
    centre: np.ndarray, size: int | tuple[int, int, int], protocol: Protocol
) -> tuple[Axes, Axes]:
    """Coordinates (mm) of a block's voxels at 3T and at 7T, over the same field of view."""
    n_low = np.broadcast_to(size, 3)
    n_high = np.maximum(np.floor(n_low / protocol.ratio + 1e-6), 1).astype(int)

    def axes(n: np.ndarray, ratio: float) -> Axes:
        x, y, z = (
            centre[a] + (np.arange(n[a]) - (n[a] - 1) / 2) * protocol.voxel_sizes[a] * ratio
            for a in range(3)
        )
        return x, y, z

    return axes(n_low, 1.0), axes(n_high, protocol.ratio)


def axes_grid(axes: Axes, voxel_sizes: np.ndarray) -> Grid:
    """Return the grid of voxels with these coordinates and sizes, mm."""
    affine = np.diag([*voxel_sizes, 1.0])
    affine[:3, 3] = [along[0] for along in axes]
    x, y, z = (len(along) for along in axes)
    return Grid((x, y, z), affine)


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
    head = Head.draw(rng)
    protocol = draw_protocol(rng) if protocol is None else protocol
    centre = centre_inside(head.phantom, protocol, size, rng)
    low, high = block_axes(centre, size, protocol)
    block = render(head, protocol, low, high)
    edge = rng.uniform(-9.0, -1.0) if rng.random() < WIDE_MASKS else rng.uniform(-1.0, 1.5)
    mask, mask_high = block.depth > edge, block.depth_high > edge
    sizes = protocol.voxel_sizes
    brain = Brain(mask.numpy(), axes_grid(low, sizes))
    brain_high = Brain(mask_high.numpy(), axes_grid(high, sizes * protocol.ratio))
    target = normalized_rish(block.high_on_low, mask)
    target_high = normalized_rish(block.high, mask_high)
    patches = []
    for scan in range(n_scans):
        if scan:
            protocol = other_table(protocol, rng)
        noisy = measure(block.low, protocol, low, rng)
        b0, signal = noisy[: protocol.n_b0].mean(0), noisy[protocol.n_b0 :]
        patches.append(
            Patch(
                shell=Shell.from_signal(measured(b0, signal, protocol, brain)),
                target=target,
                target_high=target_high,
                brain_high=brain_high,
                signal=signal,
                b0=b0,
                protocol=protocol,
                high=block.high,
            )
        )
    return patches


def measured(
    b0: torch.Tensor, signal: torch.Tensor, protocol: Protocol, brain: Brain
) -> ShellSignal:
    """Take a brain's voxels out of a block's volumes.

    Parameters
    ----------
    b0 : Tensor (X, Y, Z)
        Mean b0.
    signal : Tensor (N, X, Y, Z)
    protocol : Protocol
        By which the volumes were measured.
    brain : Brain
    """
    return ShellSignal(
        signal_NV=brain.pick(signal),
        b0_V=brain.pick(b0),
        directions_N3=protocol.directions,
        bval=float(protocol.bval),
        n_b0=protocol.n_b0,
        brain=brain,
    )


def centre_inside(
    phantom: Phantom, protocol: Protocol, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Find a centre (3,) in mm such that at least a quarter of a block is brain."""
    while True:
        centre = rng.uniform(-0.9, 0.9, 3) * phantom.semi_axes
        (x, y, z), _ = block_axes(centre, size, protocol)
        step = max(size // 8, 1)
        if (phantom.depth((x[::step], y[::step], z[::step])) > 0).float().mean() > 0.25:
            return centre
