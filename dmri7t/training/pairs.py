"""Training examples from a lab's own pairs of 3T and 7T scans.

Both scans of a subject must lie in one space (registered, axes parallel) and be corrected for
motion and distortion; the 7T gradients need not be the 3T ones, since RISH does not depend on
them.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.io.checks import check_scan
from dmri7t.io.dataset import participant_labels
from dmri7t.io.gradients import read_table
from dmri7t.io.images import open_volumes
from dmri7t.io.inputs import Scan, find_scans
from dmri7t.signal.coherence import coherent_rish
from dmri7t.signal.describe import Description, describe
from dmri7t.signal.gradients import Shell, find_shells
from dmri7t.signal.grids import Grid
from dmri7t.signal.mask import brain_mask
from dmri7t.signal.represent import represent
from dmri7t.signal.resample import extend, interpolate, resample_mask
from dmri7t.signal.rish import debias
from dmri7t.training.pool import Example, numbers

PATCH = 32
"""Edge of a patch in 3T voxels."""

PATCHES = 24
"""Patches drawn from one subject and shell."""

HELD_OUT = 0.1
"""Share of subjects that are kept for validation, one at least."""

SESSIONS = ("3T", "7T")


@attrs.frozen(eq=False)
class ShellMaps:
    """RISH of one shell of one scan.

    Parameters
    ----------
    rish, noise : Tensor (3, X, Y, Z)
        Zero outside the mask.
    coherent : Tensor (9, X, Y, Z)
        RISH together with the neighbours, zero outside the mask.
    mask : ndarray (X, Y, Z) bool
    grid : Grid
    shell : Shell
    described : Description
    """

    rish: torch.Tensor
    noise: torch.Tensor
    coherent: torch.Tensor
    mask: np.ndarray
    grid: Grid
    shell: Shell
    described: Description


def represent_scan(scan: Scan) -> list[ShellMaps]:
    """Read a scan and represent each of its shells."""
    check_scan(scan)
    with TemporaryDirectory() as scratch:
        image = open_volumes(scan.dwi, scratch)
        grid = Grid(image.shape, image.affine)
        table = read_table(scan.bval, scan.bvec, image.affine, scan.grad_b)
        b0, shells = find_shells(table.bvals)
        volumes = np.asarray(image.dataobj, np.float32)
        mean_b0 = volumes[..., list(b0)].mean(-1)
        mask = brain_mask(mean_b0, grid.voxel_sizes)
        if scan.mask is not None:
            import nibabel

            mask = np.asarray(nibabel.load(scan.mask).dataobj) > 0
        out = []
        for shell in shells:
            signal = torch.from_numpy(volumes[..., list(shell.indices)][mask].T.copy())
            rep = represent(
                signal,
                torch.from_numpy(mean_b0[mask]),
                table.directions[list(shell.indices)],
                len(b0),
            )
            values = (rep.rish_LV, rep.noise_LV, coherent_rish(rep.sh_CV, mask))
            maps = [torch.zeros(len(v), *mask.shape) for v in values]
            for volume, inside in zip(maps, values, strict=True):
                volume[:, torch.from_numpy(mask)] = inside
            described = describe(signal, rep, shell.bval, mask, grid.voxel_sizes)
            out.append(ShellMaps(*maps, mask, grid, shell, described))
    return out


def pair_examples(low: ShellMaps, high: ShellMaps, rng: np.random.Generator) -> list[Example]:
    """Cut examples from one shell of a pair.

    Parameters
    ----------
    low, high : ShellMaps
        3T and 7T.
    rng : Generator
        Chooses the places.
    """
    inside = torch.from_numpy(high.mask)
    clean = debias(high.rish[:, inside], high.noise[:, inside])
    target = extend(clean, high.mask)
    ratio = float(np.mean(high.grid.voxel_sizes / low.grid.voxel_sizes))
    places = np.argwhere(low.mask)
    examples = []
    for centre in places[rng.integers(len(places), size=PATCHES)]:
        start = np.clip(centre - PATCH // 2, 0, np.maximum(np.array(low.grid.shape) - PATCH, 0))
        stop = np.minimum(start + PATCH, low.grid.shape)
        if (stop - start < PATCH).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        grid = low.grid.crop(tuple(start), tuple(stop))
        fine = concentric(grid, ratio)
        mask, mask_high = low.mask[box], resample_mask(high.mask, high.grid, fine)
        on_low = interpolate(target, high.grid, grid).clamp_min(0) * torch.from_numpy(mask)
        on_high = interpolate(target, high.grid, fine).clamp_min(0) * torch.from_numpy(mask_high)
        examples.append(
            Example(
                rish=_root(low.rish[(slice(None), *box)]),
                noise=_root(low.noise[(slice(None), *box)]),
                coherent=_root(low.coherent[(slice(None), *box)]),
                target=_root(on_low),
                mask=mask,
                target_high=_root(on_high),
                mask_high=mask_high,
                ratio=np.float32(ratio),
                **numbers(low.described),
            )
        )
    return examples


def _root(values: torch.Tensor) -> np.ndarray:
    return values.clamp_min(0).sqrt().numpy().astype(np.float16)


def concentric(grid: Grid, ratio: float) -> Grid:
    """Grid with the same centre and voxels ``ratio`` as large, within the same field of view."""
    n = np.maximum(np.floor(np.array(grid.shape) / ratio + 1e-6), 1).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    centre = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((n - 1) / 2)
    return Grid(tuple(n), affine)


def load_pairs(bids_dir: Path, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Examples for training and validation; whole subjects go to one or the other.

    Parameters
    ----------
    bids_dir : Path
        BIDS data set with sessions 3T and 7T.
    seed : int
        Of the split and the places of the patches.

    Raises
    ------
    InputError
        If fewer than two subjects have both sessions with a common shell.
    """
    subjects: dict[str, list[Example]] = {}
    rng = np.random.default_rng(seed)
    for label in participant_labels(bids_dir):
        scans = {
            c.scan.entities.get("ses"): c.scan
            for c in find_scans(Path(bids_dir).resolve(), [label], SESSIONS)
            if c.scan is not None
        }
        if not all(session in scans for session in SESSIONS):
            print(f"[pairs] sub-{label}: left, it lacks ses-3T or ses-7T", flush=True)
            continue
        low, high = (represent_scan(scans[session]) for session in SESSIONS)
        examples = [
            example
            for three in low
            for seven in high
            if abs(three.shell.bval - seven.shell.bval) <= 100
            for example in pair_examples(three, seven, rng)
        ]
        if examples:
            subjects[label] = examples
        print(f"[pairs] sub-{label}: {len(examples)} patches", flush=True)
    if len(subjects) < 2:
        raise InputError(
            f"{bids_dir}: {len(subjects)} subjects with ses-3T and ses-7T scans that share a "
            f"b-value and are {PATCH} voxels wide; training needs two at least."
        )
    labels = sorted(subjects)
    held = set(rng.permutation(labels)[: max(1, round(HELD_OUT * len(labels)))])
    train = [e for label in labels if label not in held for e in subjects[label]]
    return train, [e for label in sorted(held) for e in subjects[label]]
