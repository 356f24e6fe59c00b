"""Blocks of a real scan, and blocks that are simulated under its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.reality.measure import tissue_snr
from dmri7t.evaluation.simulated import scan_of
from dmri7t.io.opened import open_checked
from dmri7t.io.scan import Scan
from dmri7t.signal.resample import box_slices
from dmri7t.simulation.acquisition import Protocol, draw_protocol
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.subjects import REALITY

EDGE = 24
"""Edge of the blocks in voxels; less where the image is thinner or its voxels are large."""

LONGEST = 110.0
"""Longest edge of a block, mm: a larger one could not be filled with brain."""

FULL = 0.25
"""Part of a block that is brain, at least; as in training."""

PILOTS = 3
"""Blocks by which the simulated noise is set."""


def read_shells(scan: Scan) -> list[ShellScan]:
    """Read the shells of a scan, its axes turned to lie along the scanner's as nearly as can be.

    Raises
    ------
    InputError
        If the scan cannot be used.
    """
    with open_checked(scan, axes=("R", "A", "S")) as opened:
        return [ShellScan.of(opened.measured(s), opened.brain) for s in opened.shells]


def block_size(scan: ShellScan) -> int:
    """Edge of the blocks of a scan in voxels."""
    return min(EDGE, *scan.brain.grid.shape, int(LONGEST / scan.brain.voxel_sizes.max()))


def cut(scan: ShellScan, size: int) -> Iterator[ShellScan]:
    """Cut a scan into blocks over the whole brain; those that hold little of it are left out.

    Parameters
    ----------
    scan : ShellScan
    size : int
        Edge in voxels.
    """
    places = np.argwhere(scan.brain.mask)
    starts = []
    for low, high, length in zip(
        places.min(0), places.max(0) + 1, scan.brain.mask.shape, strict=True
    ):
        n = max(1, round((high - low) / size))
        first = min(low, length - size)
        last = max(first, high - size)
        starts.append(np.unique(np.linspace(first, last, n).astype(int)))
    for start in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3):
        box = box_slices(start.tolist(), (start + size).tolist())
        if scan.brain.mask[box].mean() > FULL:
            block = scan.crop(box)
            yield ShellScan.of(block, block.brain)


def protocol_of(
    scan: ShellScan, sidecar: dict[str, Any], snr: float | None, rng: np.random.Generator
) -> Protocol:
    """Draw a protocol as training does, and put into it what is known of a scan.

    Known are voxel sizes, b-value, directions, the number of b0s, echo and repetition time where
    the sidecar has them, and mostly the noise.

    Parameters
    ----------
    scan : ShellScan
    sidecar : dict
        Acquisition fields by BIDS' names.
    snr : float, optional
        Of the b0 in white matter; drawn where it is not known.
    rng : Generator
    """
    drawn = draw_protocol(rng)
    low = attrs.evolve(
        drawn.low,
        snr=float(snr or drawn.low.snr),
        echo_time=float(sidecar.get("EchoTime") or drawn.low.echo_time),
        repetition_time=float(sidecar.get("RepetitionTime") or drawn.low.repetition_time),
    )
    return attrs.evolve(
        drawn,
        low=low,
        voxel_sizes=scan.brain.voxel_sizes,
        bval=scan.bval,
        directions=scan.directions_N3,
        n_b0=scan.n_b0,
    )


def simulate(
    scan: ShellScan, sidecar: dict[str, Any], seeds: range, size: int
) -> Iterator[ShellScan]:
    """Simulate a block of each subject under the protocol of a scan, at its noise.

    Residuals hold more than noise (motion, drift), on both sides: a few blocks are drawn first,
    and the simulated noise is scaled so that residuals in grey matter come out as the scan's.

    Parameters
    ----------
    scan : ShellScan
    sidecar : dict
    seeds : range
        Of the subjects, from ``REALITY`` of :mod:`dmri7t.simulation.subjects`.
    size : int
        Edge in voxels.
    """

    def draw(snr: float | None, seeds: range) -> Iterator[ShellScan]:
        for seed in seeds:
            protocol = protocol_of(scan, sidecar, snr, np.random.default_rng([seed, 1]))
            yield scan_of(draw_patches(seed, size, protocol)[0])

    snr = typical_snr(cut(scan, size))
    if snr is not None:
        pilots = draw(snr, REALITY.take_from(seeds.start, PILOTS))
        if simulated := typical_snr(pilots):
            snr *= float(np.clip(snr / simulated, 0.5, 2.0))
    yield from draw(snr, seeds)


def typical_snr(blocks: Iterator[ShellScan]) -> float | None:
    """Median of ``tissue_snr`` over blocks; None where residuals tell nothing."""
    each = [snr for block in blocks if (snr := tissue_snr(block)) is not None]
    return float(np.median(each)) if each else None
