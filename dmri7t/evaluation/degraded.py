"""Cases of single real scans: one half of the directions, degraded, against the other half.

The noise of the two halves is independent, so a method gains nothing by keeping its input's
noise. The reference is noisy too: no method reaches zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
import torch

from dmri7t.evaluation.case import Case, HeldOut
from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.evaluation.perfect import perfect_answer
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.source import open_dataset
from dmri7t.signal.gradients import ShellVolumes, split_directions
from dmri7t.signal.grids import Grid
from dmri7t.signal.prepare import find_brain
from dmri7t.signal.represent import normalize
from dmri7t.signal.resample import extend
from dmri7t.signal.shell import Brain, Shell

FACTORS = (1.19, 1.5)
"""By how much k-space is cropped along each axis; 1.25 over 1.05 is 1.19."""

FEWEST = 6
"""Directions that a half needs."""


def crop_kspace(volume_XYZ: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Keep the lowest frequencies of volumes (..., X, Y, Z): a coarser grid of this shape.

    Its first voxel's centre is the old one's, and the mean is kept.
    """
    spectrum = torch.fft.fftn(volume_XYZ.double(), dim=(-3, -2, -1))
    for axis, n in zip((-3, -2, -1), shape, strict=True):
        old = spectrum.shape[axis]
        # frequencies from -(n // 2) on; for even n the lone highest one is dropped
        low = (n - 1) // 2
        kept = [*range(low + 1), *range(old - low, old)]
        part = spectrum.index_select(axis, torch.tensor(kept))
        if len(kept) < n:
            place = part.narrow(axis, 0, 1) * 0
            parts = [part.narrow(axis, 0, low + 1), place, part.narrow(axis, low + 1, low)]
            part = torch.cat(parts, axis)
        spectrum = part * (n / old)
    return torch.fft.ifftn(spectrum, dim=(-3, -2, -1)).real.float()


def coarser(grid: Grid, factor: float) -> Grid:
    """Grid that a k-space cropped by a factor along each axis has."""
    shape = tuple(max(round(n / factor), 1) for n in grid.shape)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * (np.array(grid.shape) / np.array(shape))
    return Grid(shape, affine)


def degraded_cases(
    root: Path,
    factors: Sequence[float] = FACTORS,
    noise_factor: float = 1.0,
    seed: int = 0,
    truth: Path | None = None,
) -> Iterator[Case]:
    """Cases of all scans of a BIDS data set, with halves that are large enough.

    Parameters
    ----------
    root : Path
    factors : sequence of float
        By how much k-space is cropped along each axis.
    noise_factor : float
        Noise of the degraded half over its own; 1 adds none.
    seed : int
        Of the added noise.
    truth : Path, optional
        The same (simulated) heads without noise: what a perfect answer scores is measured too.
    """
    source = open_dataset(root)
    for label in source.labels:
        for scan in source.scans(label):
            with open_checked(scan) as opened:
                for shell in opened.shells:
                    first, second = split_directions(opened.table.directions[list(shell.indices)])
                    if len(second) < FEWEST:
                        print(
                            f"[evaluate] {scan.stem} {shell.name}: skipped, {len(shell)} "
                            f"directions make no two halves of {FEWEST}",
                            flush=True,
                        )
                        continue
                    halves = [[shell.indices[i] for i in half] for half in (first, second)]
                    perfect = truth and perfect_answer(truth, label, scan.stem, opened, shell)
                    yield from (
                        attrs.evolve(case, perfect=perfect)
                        for case in _cases(
                            scan.stem, opened, shell.name, halves, factors, noise_factor, seed
                        )
                    )


def _cases(
    stem: str,
    opened: OpenScan,
    shell: str,
    halves: list[list[int]],
    factors: Sequence[float],
    noise_factor: float,
    seed: int,
) -> Iterator[Case]:
    from scipy.ndimage import binary_erosion

    b0s = opened.b0_indices
    # one b0 alone is shared by both halves: the tables' notes say so
    b0_halves = [list(b0s[0::2]), list(b0s[1::2])] if len(b0s) > 1 else [list(b0s)] * 2
    truth, orders, held_out = _reference(opened, halves[1], b0_halves[1])
    counted = binary_erosion(opened.brain.mask)
    volumes = _volumes(opened, [*b0_halves[0], *halves[0]])
    for factor in factors:
        scan = _degrade(opened, volumes, len(b0_halves[0]), halves[0], factor, noise_factor, seed)
        shown = min(orders, scan.represent().n_orders)
        name = f"{factor:g} times coarser" + (
            f", {noise_factor:g} times the noise" if noise_factor > 1 else ""
        )
        yield Case(stem, shell, scan, truth, counted, shown, name, held_out)


def _reference(opened: OpenScan, half: list[int], b0s: list[int]) -> tuple[Estimate, int, HeldOut]:
    """Of the half that is kept: debiased RISH and coefficients, its orders, the signals."""
    measured = attrs.evolve(
        opened.measured(_half(opened, half)), b0_V=opened.read(b0s).mean(0), n_b0=len(b0s)
    )
    shell = Shell.from_signal(measured)
    held_out = HeldOut(normalize(measured.signal_NV, measured.b0_V), measured.directions_N3)
    return Estimate.measured(shell), shell.n_orders, held_out


def _half(opened: OpenScan, half: list[int]) -> ShellVolumes:
    """Some volumes of a shell as a shell of their own."""
    return ShellVolumes(float(np.median(opened.table.bvals[half])), tuple(half))


def _volumes(opened: OpenScan, indices: list[int]) -> torch.Tensor:
    """Volumes (N, X, Y, Z) continued smoothly outside the brain, so that nothing rings."""
    return extend(opened.read(indices), opened.brain.mask)


def _degrade(
    opened: OpenScan,
    volumes: torch.Tensor,
    n_b0: int,
    half: list[int],
    factor: float,
    noise_factor: float,
    seed: int,
) -> ShellScan:
    """Crop k-space of a half's volumes (b0s first), and add noise."""
    grid = coarser(opened.grid, factor)
    cropped = crop_kspace(volumes, grid.shape).clamp_min(0)
    within = crop_kspace(torch.from_numpy(opened.brain.mask[None]).float(), grid.shape)[0] > 0.5
    mask = find_brain(cropped[:n_b0].mean(0).numpy(), grid.voxel_sizes, within.numpy())
    brain = Brain(mask, grid)
    cropped_NV = brain.pick(cropped)
    scan = ShellScan(
        signal_NV=cropped_NV[n_b0:],
        b0_V=cropped_NV[:n_b0].mean(0),
        directions_N3=opened.table.directions[half],
        bval=_half(opened, half).bval,
        n_b0=n_b0,
        brain=brain,
        brain_out=opened.brain,
    )
    if noise_factor <= 1:
        return scan
    sigma = float((scan.represent().sigma_V * scan.b0_V.clamp_min(1e-9)).median())
    generator = torch.Generator().manual_seed(seed)
    added = sigma * (noise_factor**2 - 1) ** 0.5

    def noisy(values: torch.Tensor) -> torch.Tensor:
        parts = [added * torch.randn(values.shape, generator=generator) for _ in range(2)]
        return torch.hypot(values + parts[0], parts[1])

    b0_V = noisy(cropped_NV[:n_b0]).mean(0)
    return attrs.evolve(scan, signal_NV=noisy(scan.signal_NV), b0_V=b0_V)
