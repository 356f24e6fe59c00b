"""Parts of a shell's directions, of one real scan, and what makes one of them a worse scan.

Noise of one part is independent of another's: what is made of the one can be held against the
other. A scan with one b0 alone shares that between its parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch

from dmri7t.io.opened import OpenScan
from dmri7t.signal.coarse import crop_volumes
from dmri7t.signal.gradients import ShellVolumes
from dmri7t.signal.resample import extend
from dmri7t.signal.shell import Shell, ShellSignal

FEWEST = 6
"""Directions that a part needs."""


@attrs.frozen
class Degradation:
    """What is done to one part of a shell's directions.

    Parameters
    ----------
    crop : float
        By how much k-space is cropped along each axis.
    noise : float
        Noise over the part's own; 1 adds none.
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

    def apply(self, half: Half, volumes: torch.Tensor) -> ShellSignal:
        """Degrade a half.

        Parameters
        ----------
        half : Half
        volumes : Tensor (B + N, X, Y, Z)
            Its b0s and its shell, continued outside the brain.
        """
        measured, n_b0 = half.measured, half.measured.n_b0
        cropped_NV, brain = crop_volumes(volumes, measured.brain, n_b0, self.crop)

        def changed(b0s_MV: torch.Tensor, signal_NV: torch.Tensor) -> ShellSignal:
            return attrs.evolve(
                measured,
                signal_NV=signal_NV,
                b0_V=b0s_MV.mean(0),
                brain=brain,
                b0s_MV=None if measured.b0s_MV is None else b0s_MV,
            )

        plain = changed(cropped_NV[:n_b0], cropped_NV[n_b0:])
        if self.noise <= 1:
            return plain
        sigma = float((Shell.from_signal(plain).sigma_V * plain.b0_V.clamp_min(1e-9)).median())
        generator = torch.Generator().manual_seed(self.seed)
        added = sigma * (self.noise**2 - 1) ** 0.5

        def noisy(values: torch.Tensor) -> torch.Tensor:
            parts = [added * torch.randn(values.shape, generator=generator) for _ in range(2)]
            return torch.hypot(values + parts[0], parts[1])

        # b0s first: the seed decides the noise in this order
        return changed(noisy(cropped_NV[:n_b0]), noisy(cropped_NV[n_b0:]))


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


def read_halves(
    opened: OpenScan, shell: ShellVolumes, halves: Sequence[Sequence[int]]
) -> tuple[Half, Half]:
    """Read two parts of a shell, each with every other b0; one b0 alone is shared.

    Parameters
    ----------
    opened : OpenScan
    shell : ShellVolumes
    halves : two sequences of int
        Positions of their directions within the shell.
    """
    b0 = opened.b0_indices
    b0_halves = (b0[0::2], b0[1::2]) if len(b0) > 1 else (b0, b0)
    first, second = (
        Half.read(opened, indices, [shell.indices[i] for i in half])
        for indices, half in zip(b0_halves, halves, strict=True)
    )
    return first, second
