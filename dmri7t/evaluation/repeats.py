"""Real scans of one head, twice: pairs of like series, or one series that has everything twice.

Both scans are translated on their own grids. Two series are then brought together by a rigid
motion between their mean b0s, each half of the way, so that both are interpolated alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import torch

from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.methods import Method
from dmri7t.evaluation.repeatability import (
    INTERPOLATION,
    repeatability,
    repeats_markdown,
    summarize_repeats,
)
from dmri7t.evaluation.tensors import TISSUE
from dmri7t.files import whole_file, write_whole
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.scan import Scan
from dmri7t.io.source import open_dataset
from dmri7t.progress import Progress, note
from dmri7t.signal.gradients import ShellVolumes, group_directions
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain, ShellSignal
from dmri7t.training.halves import FEWEST, Half
from dmri7t.training.pairs import common_shells

ENCODING = ("PhaseEncodingDirection", "PhaseEncodingAxis")
"""Fields of the sidecar that must agree: other distortions are another image."""

LEVELS = (200, 100, 20)
"""Steps of the registration, from coarse to fine."""

INSIDE = 0.99
"""Voxels count whose neighbours lie in both masks, by interpolation of these."""


@attrs.frozen(eq=False)
class Repeat:
    """One shell of one head, measured twice.

    Parameters
    ----------
    subject, pair, shell : str
    scans : tuple of two ShellScan
        Each to be translated on its own grid.
    motion_44 : ndarray (4, 4), optional
        From where something lies in the first scan to where it lies in the second, mm. None: both
        are of one series, voxel on voxel.
    """

    subject: str
    pair: str
    shell: str
    scans: tuple[ShellScan, ShellScan]
    motion_44: np.ndarray | None = None

    def together(self, maps: Sequence[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        """Bring maps (V1,) of the first scan and (V2,) of the second to common voxels (V,)."""
        brains = [scan.brain for scan in self.scans]
        if self.motion_44 is None:
            return list(maps)
        ways = half_ways(self.motion_44)
        grid = _carried(brains[0].grid, ways[1])
        sampled = []
        for brain, each, way in zip(brains, maps, ways, strict=True):
            stacked = torch.stack([torch.ones(brain.n_voxels), *each.values()])
            sampled.append(_sample(brain, stacked, grid, way))
        kept = (sampled[0][0] > INSIDE) & (sampled[1][0] > INSIDE)
        return [
            dict(zip(each, (image[kept] for image in images[1:]), strict=True))
            for each, images in zip(maps, sampled, strict=True)
        ]


def half_ways(motion_44: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From half of the way of a rigid motion back to its beginning, and on to its end.

    Examples
    --------
    >>> back, on = half_ways(np.array([[1.0, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    >>> float(back[0, 3]), float(on[0, 3])
    (-2.0, 2.0)
    """
    from scipy.linalg import sqrtm

    half = np.real(sqrtm(np.asarray(motion_44, float)))
    return np.linalg.inv(half), half


def _carried(grid: Grid, way_44: np.ndarray) -> Grid:
    """Carry a grid along with its centre, unturned, so that the head stays in it."""
    centre = grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1]
    affine = grid.affine.copy()
    affine[:3, 3] += (way_44 @ centre - centre)[:3]
    return Grid(grid.shape, affine)


def _sample(brain: Brain, values_KV: torch.Tensor, grid: Grid, way_44: np.ndarray) -> torch.Tensor:
    """Images (K, X, Y, Z) on a grid whose points lie elsewhere in the scan, linearly."""
    from scipy.ndimage import affine_transform

    step = np.linalg.inv(brain.grid.affine) @ way_44 @ grid.affine
    volumes = brain.place(values_KV.float()).numpy()
    parts = [
        affine_transform(volume, step[:3, :3], step[:3, 3], grid.shape, order=1)
        for volume in volumes
    ]
    return torch.from_numpy(np.stack(parts))


def rigid_motion(first: OpenScan, second: OpenScan) -> np.ndarray:
    """Rigid motion (4, 4) in mm from the first scan's head to the second's, by mutual information.

    Parameters
    ----------
    first, second : OpenScan
        Whose mean b0s are registered, within their masks.
    """
    from dipy.align import affine_registration

    # it tells every step of the way
    logging.getLogger("dipy").setLevel(logging.WARNING)
    fixed, moving = (np.where(o.brain.mask, o.b0, 0).astype(np.float64) for o in (first, second))
    _, motion = affine_registration(
        moving,
        fixed,
        moving_affine=second.grid.affine,
        static_affine=first.grid.affine,
        pipeline=["center_of_mass", "translation", "rigid"],
        level_iters=list(LEVELS),
    )
    return np.asarray(motion)


def find_repeats(root: Path) -> Iterator[Repeat]:
    """All repeats of a BIDS data set.

    A series that measured every direction of a shell twice or more, with two b0s at least, is
    parted into the first time and the second. Other series of a participant make pairs, the first
    and second, third and fourth and so on, in the order of their names, where shape, voxel sizes,
    phase encoding, b-values and numbers of directions agree.

    Parameters
    ----------
    root : Path
    """
    source = open_dataset(root)
    for label in source.labels:
        single: list[tuple[tuple[object, ...], Scan]] = []
        for scan in source.scans(label):
            with open_checked(scan) as opened:
                within = list(_within(label, scan.stem, opened))
                layout = _layout(scan, opened)
            yield from within
            if not within:
                single.append((layout, scan))
        single.sort(key=lambda each: (str(each[0]), each[1].stem))
        for _, alike in groupby(single, key=lambda each: str(each[0])):
            scans = [scan for _, scan in alike]
            if len(scans) % 2:
                note(f"[repeats] {scans[-1].stem}: no other series of this head is like it")
            for first, second in zip(scans[::2], scans[1::2], strict=False):
                yield from _between(label, first, second)


def _layout(scan: Scan, opened: OpenScan) -> tuple[object, ...]:
    """What two series must have in common."""
    encoding = tuple(str(scan.sidecar.get(field)) for field in ENCODING)
    shells = tuple((round(shell.bval, -2), len(shell)) for shell in opened.shells)
    return opened.grid.shape, tuple(opened.grid.voxel_sizes.round(2).tolist()), encoding, shells


def _within(label: str, stem: str, opened: OpenScan) -> Iterator[Repeat]:
    """The two times of a series that measured everything twice."""
    if opened.n_b0 < 2:
        return
    b0 = opened.b0_indices
    for shell in opened.shells:
        groups = group_directions(opened.table.directions[list(shell.indices)])
        if len(groups) < FEWEST or min(map(len, groups)) < 2:
            continue
        halves = [
            Half.read(opened, b0[time::2], [shell.indices[group[time]] for group in groups])
            for time in (0, 1)
        ]
        first, second = (_scan(half.measured) for half in halves)
        yield Repeat(label, stem, shell.name, (first, second))


def _between(label: str, first: Scan, second: Scan) -> Iterator[Repeat]:
    """Shells of two series."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(open_checked(scan)) for scan in (first, second))
        motion = rigid_motion(one, other)
        for shell, twin in common_shells(one.shells, other.shells):
            scans = (_measured(one, shell), _measured(other, twin))
            yield Repeat(label, f"{first.stem} {second.stem}", shell.name, scans, motion)


def _measured(opened: OpenScan, shell: ShellVolumes) -> ShellScan:
    return _scan(opened.measured(shell))


def _scan(measured: ShellSignal) -> ShellScan:
    return ShellScan.of(measured, measured.brain)


def run_repeats(root: Path, methods: Sequence[Method], seed: int = 0) -> pd.DataFrame:
    """Measure repeatability of FA and R2 in tissue.

    Tissue is where the mean MD of both scans, by the first method, is that of tissue: the same
    voxels for all.

    Parameters
    ----------
    root : Path
        BIDS data set.
    methods : sequence of Method
    seed : int
        Of the samplers.

    Returns
    -------
    DataFrame
        subject, pair, shell, method, map, within, between, icc, median, voxels, moved (mm, of the
        grid's centre, and nan within a series); empty where there is no repeat.
    """
    rows: list[dict[str, object]] = []
    progress, done = Progress("repeats", 0), 0
    for repeat in find_repeats(root):
        progress.total = done + 2 * len(methods)
        shells = [scan.represent() for scan in repeat.scans]
        tissue: torch.Tensor | None = None
        for method in methods:
            progress.show(done, f"{repeat.pair} {repeat.shell}: {method.name}", passing=True)
            maps = []
            for scan, shell in zip(repeat.scans, shells, strict=True):
                estimate = method.make(scan, shell, seed)
                fa_V, md_V = estimate.diffusion(scan)
                maps.append({"FA": fa_V, "R2": estimate.rish_3V[1].float(), "MD": md_V})
            first, second = repeat.together(maps)
            done += 2
            if tissue is None:
                tissue = (first["MD"] + second["MD"]) / 2 < TISSUE
            told = {
                "subject": repeat.subject,
                "pair": repeat.pair,
                "shell": repeat.shell,
                "method": method.name,
            }
            for name in ("FA", "R2"):
                found = repeatability(first[name][tissue], second[name][tissue])
                counted = {"voxels": int(tissue.sum()), "moved": _moved(repeat)}
                rows.append({**told, "map": name, **attrs.asdict(found), **counted})
        progress.show(done, f"{repeat.pair} {repeat.shell}")
    return pd.DataFrame(rows)


def _moved(repeat: Repeat) -> float:
    """By how much the centre of the first scan's grid moved, mm."""
    if repeat.motion_44 is None:
        return float("nan")
    grid = repeat.scans[0].brain.grid
    centre = grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1]
    return float(np.linalg.norm((repeat.motion_44 @ centre - centre)[:3]))


def write_repeats(rows: pd.DataFrame, folder: Path, notes: Sequence[str]) -> pd.DataFrame:
    """Write repeats.tsv, pairs.tsv and table.md; return the summary."""
    # a pair's shells are pairs of their own
    single = rows.assign(pair=rows["pair"] + " " + rows["shell"])
    table = summarize_repeats(single, INTERPOLATION)
    for name, frame in (("pairs", rows), ("repeats", table)):
        with whole_file(folder / f"{name}.tsv") as part:
            frame.to_csv(part, sep="\t", index=False, float_format="%.6g")
    text = "\n".join([*(f"{each}\n" for each in notes), repeats_markdown(table, INTERPOLATION)])
    write_whole(folder / "table.md", text)
    return table
