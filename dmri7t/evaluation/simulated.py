"""Simulated subjects that no training saw, with the noise-free target of training as truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dmri7t.evaluation.case import Case
from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import rish
from dmri7t.simulation.acquisition import Protocol, draw_protocol, hcp_protocol
from dmri7t.simulation.patches import Patch, draw_patches, measured

EDGE = 4
"""Voxels of the output at a block's border that are left out of the metrics."""


def scan_of(patch: Patch) -> ShellScan:
    """Turn a simulated block into what the app would read."""
    signal = measured(patch.b0, patch.signal, patch.protocol, patch.shell.brain)
    return ShellScan.of(signal, patch.brain_high)


def truth_of(patch: Patch) -> Estimate:
    """Noise-free coefficients and RISH of a block's target."""
    sampled = patch.brain_high.pick(patch.high)
    sh_CV = sampled[1:] / floor_b0(sampled[0])
    return Estimate(rish(sh_CV)[:3], sh_CV)


def case_of(patch: Patch, subject: str = "") -> Case:
    """Make a case of a block; its border does not count."""
    scan = scan_of(patch)
    inner = np.zeros_like(scan.brain_out.mask)
    inner[(slice(EDGE, -EDGE),) * 3] = True
    shell = f"b{scan.bval:.0f}"
    counted = scan.brain_out.mask & inner
    return Case(subject, shell, scan, truth_of(patch), counted, exact=True)


def draw_blocks(seeds: Iterable[int], protocol: str, size: int) -> Iterator[Patch]:
    """Draw one block from each of some brains.

    Parameters
    ----------
    seeds : iterable of int
        One a subject, from a range of :mod:`dmri7t.simulation.subjects`.
    protocol : {"any", "hcp"}
        Drawn as in training, or HCP's 3T scan (1.25 mm, 90 directions, b = 1000).
    size : int
        Edge in 3T voxels.
    """
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        drawn: Protocol = hcp_protocol(rng) if protocol == "hcp" else draw_protocol(rng)
        yield draw_patches(seed, size, drawn)[0]


def simulated_cases(seeds: Sequence[int], protocol: str, size: int) -> Iterator[Case]:
    """Draw a case of each subject; see :func:`draw_blocks`."""
    for seed, patch in zip(seeds, draw_blocks(seeds, protocol, size), strict=True):
        yield case_of(patch, f"sim{seed}")
