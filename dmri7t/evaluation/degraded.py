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
from dmri7t.signal.shell import Brain, Shell, ShellSignal

CROPS = (1.19, 1.5)
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
            zero = part.narrow(axis, 0, 1) * 0
            parts = [part.narrow(axis, 0, low + 1), zero, part.narrow(axis, low + 1, low)]
            part = torch.cat(parts, axis)
        spectrum = part * (n / old)
    return torch.fft.ifftn(spectrum, dim=(-3, -2, -1)).real.float()


def coarser(grid: Grid, factor: float) -> Grid:
    """Grid that a k-space cropped by a factor along each axis has."""
    shape = tuple(max(round(n / factor), 1) for n in grid.shape)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * (np.array(grid.shape) / np.array(shape))
    return Grid(shape, affine)


@attrs.frozen
class Degradation:
    """What is done to one half of a shell's directions.

    Parameters
    ----------
    crop : float
        By how much k-space is cropped along each axis.
    noise : float
        Noise over the half's own; 1 adds none.
    seed : int
        Of the added noise.
    """

    crop: float
    noise: float = 1.0
    seed: int = 0

    @property
    def name(self) -> str:
        """For the tables."""
        words = f"{self.crop:g} times coarser"
        return words + (f", {self.noise:g} times the noise" if self.noise > 1 else "")

    def apply(self, half: Half, volumes: torch.Tensor) -> ShellScan:
        """Degrade a half.

        Parameters
        ----------
        half : Half
        volumes : Tensor (B + N, X, Y, Z)
            Its b0s and its shell, continued outside the brain.
        """
        measured, n_b0 = half.measured, half.measured.n_b0
        grid = coarser(measured.brain.grid, self.crop)
        cropped = crop_kspace(volumes, grid.shape).clamp_min(0)
        mask = torch.from_numpy(measured.brain.mask[None]).float()
        within = crop_kspace(mask, grid.shape)[0] > 0.5
        mean_b0 = cropped[:n_b0].mean(0).numpy()
        brain = Brain(find_brain(mean_b0, grid.voxel_sizes, within.numpy()), grid)
        cropped_NV = brain.pick(cropped)

        def scan_of(b0s_MV: torch.Tensor, signal_NV: torch.Tensor) -> ShellScan:
            changed = attrs.evolve(
                measured,
                signal_NV=signal_NV,
                b0_V=b0s_MV.mean(0),
                brain=brain,
                b0s_MV=None if measured.b0s_MV is None else b0s_MV,
            )
            return ShellScan.of(changed, measured.brain)

        scan = scan_of(cropped_NV[:n_b0], cropped_NV[n_b0:])
        if self.noise <= 1:
            return scan
        sigma = float((scan.represent().sigma_V * scan.b0_V.clamp_min(1e-9)).median())
        generator = torch.Generator().manual_seed(self.seed)
        added = sigma * (self.noise**2 - 1) ** 0.5

        def noisy(values: torch.Tensor) -> torch.Tensor:
            parts = [added * torch.randn(values.shape, generator=generator) for _ in range(2)]
            return torch.hypot(values + parts[0], parts[1])

        # b0s first: the seed decides the noise in this order
        return scan_of(noisy(cropped_NV[:n_b0]), noisy(cropped_NV[n_b0:]))


@attrs.frozen(eq=False)
class Half:
    """One half of a shell's directions.

    Parameters
    ----------
    opened : OpenScan
    b0 : tuple of int
        Volumes of its mean b0.
    shell : ShellVolumes
    measured : ShellSignal
        Of these.
    """

    opened: OpenScan
    b0: tuple[int, ...]
    shell: ShellVolumes
    measured: ShellSignal

    @classmethod
    def read(cls, opened: OpenScan, b0: Sequence[int], shell: Sequence[int]) -> Half:
        """Read the volumes of a half."""
        volumes = ShellVolumes(float(np.median(opened.table.bvals[list(shell)])), tuple(shell))
        measured, b0s_MV = opened.measured(volumes), opened.read(list(b0))
        several = measured.b0s_MV is not None and len(b0) > 1
        measured = attrs.evolve(
            measured,
            b0_V=b0s_MV.mean(0),
            n_b0=len(b0),
            b0s_MV=b0s_MV if several else None,
        )
        return cls(opened, tuple(b0), volumes, measured)

    def volumes(self) -> torch.Tensor:
        """Volumes (B + N, X, Y, Z) continued smoothly outside the brain, so that nothing rings."""
        return extend(self.opened.read([*self.b0, *self.shell.indices]), self.opened.brain.mask)


def degraded_cases(
    root: Path,
    degradations: Sequence[Degradation] = tuple(map(Degradation, CROPS)),
    truth: Path | None = None,
) -> Iterator[Case]:
    """Cases of all scans of a BIDS data set, with halves that are large enough.

    Parameters
    ----------
    root : Path
    degradations : sequence of Degradation
    truth : Path, optional
        The same (simulated) heads without noise: what a perfect answer scores is measured too.
    """
    source = open_dataset(root)
    for label in source.labels:
        for scan in source.scans(label):
            with open_checked(scan) as opened:
                for shell in opened.shells:
                    halves = split_directions(opened.table.directions[list(shell.indices)])
                    if len(halves[1]) < FEWEST:
                        print(
                            f"[evaluate] {scan.stem} {shell.name}: skipped, {len(shell)} "
                            f"directions make no two halves of {FEWEST}",
                            flush=True,
                        )
                        continue
                    perfect = None
                    if truth:
                        perfect = perfect_answer(truth, label, scan.stem, opened, shell)
                    for case in _cases(*_halves(opened, shell, halves), degradations):
                        yield attrs.evolve(
                            case, subject=scan.stem, shell=shell.name, perfect=perfect
                        )


def _halves(
    opened: OpenScan, shell: ShellVolumes, halves: Sequence[Sequence[int]]
) -> tuple[Half, Half]:
    """Both halves of a shell; one b0 alone is shared, as the tables' notes say."""
    b0 = opened.b0_indices
    b0_halves = (b0[0::2], b0[1::2]) if len(b0) > 1 else (b0, b0)
    first, second = (
        Half.read(opened, indices, [shell.indices[i] for i in half])
        for indices, half in zip(b0_halves, halves, strict=True)
    )
    return first, second


def _cases(given: Half, kept: Half, degradations: Sequence[Degradation]) -> Iterator[Case]:
    """One half degraded in several ways, against the other as it was measured."""
    from scipy.ndimage import binary_erosion

    measured = kept.measured
    shell = Shell.from_signal(measured)
    held_out = HeldOut(normalize(measured.signal_NV, measured.b0_V), measured.directions_N3)
    truth, counted = Estimate.measured(shell), binary_erosion(measured.brain.mask)
    volumes = given.volumes()
    for degradation in degradations:
        scan = degradation.apply(given, volumes)
        orders = min(shell.n_orders, scan.represent().n_orders)
        yield Case("", "", scan, truth, counted, orders, degradation.name, held_out)
