"""Blocks of a real scan, and blocks that are simulated under its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import nibabel
import numpy as np
import torch
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from dmri7t.errors import InputError
from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.reality.measure import tissue_snr
from dmri7t.evaluation.simulated import scan_of
from dmri7t.io.checks import check_scan
from dmri7t.io.gradients import read_table
from dmri7t.io.images import open_volumes
from dmri7t.io.scan import Scan
from dmri7t.signal.gradients import find_shells
from dmri7t.signal.grids import Grid
from dmri7t.signal.prepare import find_brain, mask_volumes, mean_volume
from dmri7t.simulation.acquisition import Protocol, draw_protocol
from dmri7t.simulation.patches import draw_patches

FIRST_SEED = 3_000_000
"""Seeds of the simulations start here, away from those of training and of test subjects."""

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
    check_scan(scan)
    with TemporaryDirectory() as scratch:
        image = open_volumes(scan.dwi, scratch)
        turn = io_orientation(image.affine)
        table = read_table(scan.bval, scan.bvec, image.affine, scan.grad_b)
        b0, shells = find_shells(table.bvals)

        def volume(index: int) -> np.ndarray:
            return apply_orientation(np.asarray(image.dataobj[..., index]), turn)

        mean_b0 = mean_volume(volume, b0)
        grid = Grid(mean_b0.shape, image.affine @ inv_ornt_aff(turn, image.shape[:3]))
        given = None
        if scan.mask is not None:
            given = apply_orientation(np.asarray(nibabel.load(scan.mask).dataobj) > 0, turn)
        try:
            mask = find_brain(mean_b0, grid.voxel_sizes, given)
        except InputError as error:
            raise InputError(f"{scan.mask or scan.dwi}: {error}") from error
        out = []
        for shell in shells:
            signal = np.empty((len(shell), int(mask.sum())), np.float32)
            mask_volumes(lambda row, s=shell: volume(s.indices[row]), mask, signal)
            directions = table.directions[list(shell.indices)]
            values = torch.from_numpy(signal), torch.from_numpy(mean_b0[mask])
            out.append(_in_place(values, directions, shell.bval, len(b0), mask, grid))
        return out


def _in_place(
    values: tuple[torch.Tensor, torch.Tensor],
    directions_N3: np.ndarray,
    bval: float,
    n_b0: int,
    mask: np.ndarray,
    grid: Grid,
) -> ShellScan:
    """Signal and b0 of a mask as a scan that is to stay on its grid."""
    return ShellScan(*values, directions_N3, bval, n_b0, mask, grid, mask, grid)


def block_size(scan: ShellScan) -> int:
    """Edge of the blocks of a scan in voxels."""
    return min(EDGE, *scan.mask.shape, int(LONGEST / scan.grid.voxel_sizes.max()))


def cut(scan: ShellScan, size: int) -> Iterator[ShellScan]:
    """Cut a scan into blocks over the whole brain; those that hold little of it are left out.

    Parameters
    ----------
    scan : ShellScan
    size : int
        Edge in voxels.
    """
    places = np.argwhere(scan.mask)
    number = torch.zeros(scan.mask.shape, dtype=torch.long)
    number[torch.as_tensor(scan.mask)] = torch.arange(len(places))
    starts = []
    for low, high, length in zip(places.min(0), places.max(0) + 1, scan.mask.shape, strict=True):
        n = max(1, round((high - low) / size))
        first = min(low, length - size)
        last = max(first, high - size)
        starts.append(np.unique(np.linspace(first, last, n).astype(int)))
    for start in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3):
        box = tuple(slice(a, a + size) for a in start)
        mask = scan.mask[box]
        if mask.mean() > FULL:
            inside = number[box][torch.as_tensor(mask)]
            values = scan.signal_NV[:, inside], scan.b0_V[inside]
            grid = scan.grid.crop(tuple(start), tuple(start + size))
            yield _in_place(values, scan.directions_N3, scan.bval, scan.n_b0, mask, grid)


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
    known = {
        "snr": snr,
        "echo_time": sidecar.get("EchoTime"),
        "repetition_time": sidecar.get("RepetitionTime"),
    }
    known = {name: float(value) for name, value in known.items() if value}
    return attrs.evolve(
        drawn,
        low=attrs.evolve(drawn.low, **known),
        voxel_sizes=scan.grid.voxel_sizes,
        bval=scan.bval,
        directions=scan.directions_N3,
        n_b0=scan.n_b0,
    )


def simulate(
    scan: ShellScan, sidecar: dict[str, Any], n: int, seed: int, size: int
) -> Iterator[ShellScan]:
    """Simulate a block of each of ``n`` brains under the protocol of a scan, at its noise.

    Residuals hold more than noise (motion, gain), on both sides: a few blocks are drawn first,
    and the simulated noise is scaled so that residuals in grey matter come out as the scan's.

    Parameters
    ----------
    scan : ShellScan
    sidecar : dict
    n, seed : int
        Brains, and an offset to the first seed.
    size : int
        Edge in voxels.
    """

    def draw(snr: float | None, count: int) -> Iterator[ShellScan]:
        for number in range(FIRST_SEED + seed, FIRST_SEED + seed + count):
            protocol = protocol_of(scan, sidecar, snr, np.random.default_rng([number, 1]))
            yield scan_of(draw_patches(number, size, protocol)[0])

    snr = typical_snr(cut(scan, size))
    found = None if snr is None else typical_snr(draw(snr, PILOTS))
    if found:
        snr *= float(np.clip(snr / found, 0.5, 2.0))
    yield from draw(snr, n)


def typical_snr(blocks: Iterator[ShellScan]) -> float | None:
    """Median of ``tissue_snr`` over blocks; None where residuals tell nothing."""
    found = [snr for block in blocks if (snr := tissue_snr(block)) is not None]
    return float(np.median(found)) if found else None
