"""A scan as it would be on larger voxels: what it says at one scale tells of the next."""

from __future__ import annotations

import attrs
import torch

from dmri7t.signal.kspace import coarser, crop_kspace
from dmri7t.signal.prepare import find_brain
from dmri7t.signal.resample import extend
from dmri7t.signal.shell import Brain, ShellSignal

MARGIN = 4
"""Voxels laid around an image before its k-space is cropped: its faces would ring into each
other."""

AT_ONCE = 16
"""Volumes whose k-space is held in memory."""


def crop_volumes(
    volumes: torch.Tensor, brain: Brain, n_b0: int, factor: float
) -> tuple[torch.Tensor, Brain]:
    """Crop the k-space of volumes, and find the brain on the coarser grid.

    Parameters
    ----------
    volumes : Tensor (B + N, X, Y, Z)
        The b0s first; continued outside the brain, so that nothing rings.
    brain : Brain
    n_b0 : int
        How many b0s there are.
    factor : float
        By how much larger voxels become, along each axis.

    Returns
    -------
    values : Tensor (B + N, V')
    brain : Brain
        Of the coarser grid.
    """
    grid = coarser(brain.grid, factor)
    parts = [crop_kspace(part, grid.shape).clamp_min(0) for part in volumes.split(AT_ONCE)]
    cropped = torch.cat(parts)
    mask = torch.from_numpy(brain.mask[None]).float()
    within = crop_kspace(mask, grid.shape)[0] > 0.5
    mean_b0 = cropped[:n_b0].mean(0).numpy()
    coarse = Brain(find_brain(mean_b0, grid.voxel_sizes, within.numpy()), grid)
    return coarse.pick(cropped), coarse


def coarsen(measured: ShellSignal, factor: float) -> ShellSignal:
    """Make a shell as a scan with larger voxels would have it, its noise lower accordingly.

    Parameters
    ----------
    measured : ShellSignal
    factor : float
        By how much larger voxels become, along each axis.
    """
    brain = measured.brain.padded([(MARGIN, MARGIN)] * 3)
    b0s_MV = measured.b0_V[None] if measured.b0s_MV is None else measured.b0s_MV
    volumes = extend(torch.cat([b0s_MV, measured.signal_NV]), brain.mask)
    values, coarse = crop_volumes(volumes, brain, len(b0s_MV), factor)
    b0s = values[: len(b0s_MV)]
    return attrs.evolve(
        measured,
        signal_NV=values[len(b0s_MV) :],
        b0_V=b0s.mean(0),
        b0s_MV=None if measured.b0s_MV is None else b0s,
        brain=coarse,
    )
