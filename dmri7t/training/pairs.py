"""Training examples from a lab's own scans, BIDS or HCP's folders: pairs of 3T and 7T, or 3T alone.

Both scans of a pair must lie in one space (registered, axes parallel) and be corrected for
motion and distortion; the 7T gradients need not be the 3T ones, since RISH does not depend on
them. Examples are cut subject by subject and kept on disk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.files import write_whole
from dmri7t.io.opened import open_checked
from dmri7t.io.scan import Scan
from dmri7t.io.source import open_dataset
from dmri7t.models.fitted import SplitRecord
from dmri7t.models.plain import to_plain
from dmri7t.progress import Progress, note
from dmri7t.signal.gradients import ShellVolumes
from dmri7t.signal.grids import Grid
from dmri7t.signal.resample import box_slices, extend, interpolate, resample_mask
from dmri7t.signal.shell import Brain, Shell
from dmri7t.training.data import TrainingData, derive_seed
from dmri7t.training.example import TrainingExample
from dmri7t.training.settings import PATCH, PATCHES
from dmri7t.training.splits import split_subjects, strangers
from dmri7t.training.team import Team

SAME_SHELL = 100.0
"""Furthest that b-values (s/mm2) of what counts as one shell may lie apart."""

ORIGIN = "cut.json"
"""What a subject's examples were cut from, beside them."""

FIELDS = ("3T", "7T")
"""Sessions of a BIDS data set, and HCP's two fields."""

Cut = Callable[[str, np.random.Generator], Iterator[TrainingExample]]
"""Gives the examples of a subject by its label."""


def common_shells(
    low: Sequence[ShellVolumes], high: Sequence[ShellVolumes], wanted: Sequence[float] = ()
) -> list[tuple[ShellVolumes, ShellVolumes]]:
    """Pair shells of two scans by nearest b-value, within 100 s/mm2, each once.

    Parameters
    ----------
    low, high : sequence of ShellVolumes
    wanted : sequence of float
        b-values to use, within 100 s/mm2; empty: all.

    Examples
    --------
    >>> three = [ShellVolumes(998.0, ()), ShellVolumes(2001.0, ()), ShellVolumes(3000.0, ())]
    >>> seven = [ShellVolumes(940.0, ()), ShellVolumes(1004.0, ()), ShellVolumes(2000.0, ())]
    >>> [(a.bval, b.bval) for a, b in common_shells(three, seven)]
    [(998.0, 1004.0), (2001.0, 2000.0)]
    """
    near = sorted(
        (abs(a.bval - b.bval), i, j)
        for i, a in enumerate(low)
        for j, b in enumerate(high)
        if abs(a.bval - b.bval) <= SAME_SHELL
    )
    chosen: dict[int, int] = {}
    for _, i, j in near:
        if i not in chosen and j not in chosen.values():
            chosen[i] = j
    return [(low[i], high[j]) for i, j in sorted(chosen.items()) if is_wanted(low[i], wanted)]


def is_wanted(shell: ShellVolumes, wanted: Sequence[float]) -> bool:
    """Whether a shell is one of some b-values, within 100 s/mm2; without any, all are."""
    return not wanted or any(abs(shell.bval - b) <= SAME_SHELL for b in wanted)


@attrs.frozen
class Cutting:
    """How examples are cut from scans.

    Parameters
    ----------
    shells : tuple of float
        b-values to use; empty: all.
    patch : int
        Edge of an example in 3T voxels.
    patches : int
        Examples of one subject and shell.
    seed : int
        Where examples lie is drawn from it and the subject's label.
    """

    shells: tuple[float, ...] = ()
    patch: int = PATCH
    patches: int = PATCHES
    seed: int = 0

    def boxes(
        self, mask: np.ndarray, rng: np.random.Generator
    ) -> Iterator[tuple[slice, slice, slice]]:
        """Yield boxes around voxels of a mask; none if the image is smaller than a box."""
        shape, centres = np.array(mask.shape), np.argwhere(mask)
        if (shape < self.patch).any():
            return
        for centre in centres[rng.integers(len(centres), size=self.patches)]:
            start = np.clip(centre - self.patch // 2, 0, shape - self.patch)
            yield box_slices(start.tolist(), (start + self.patch).tolist())


def cut_pair(
    three: Scan, seven: Scan, cutting: Cutting, rng: np.random.Generator
) -> Iterator[TrainingExample]:
    """Cut examples from the shells that two scans share, shell by shell."""
    with open_checked(three) as low, open_checked(seven) as high:
        for shell, other in common_shells(low.shells, high.shells, cutting.shells):
            three_tesla = Shell.from_signal(low.measured(shell))
            seven_tesla = Shell.from_signal(high.measured(other))
            yield from pair_examples(three_tesla, seven_tesla, cutting, rng)


def pair_examples(
    low: Shell, high: Shell, cutting: Cutting, rng: np.random.Generator
) -> Iterator[TrainingExample]:
    """Cut examples from one shell of a pair.

    Parameters
    ----------
    low, high : Shell
        3T and 7T.
    cutting : Cutting
    rng : Generator
        Chooses where examples lie.
    """
    target = extend(high.debiased_3V, high.brain.mask)
    ratio = float(np.mean(high.brain.voxel_sizes / low.brain.voxel_sizes))

    def target_on(brain: Brain) -> torch.Tensor:
        interpolated = interpolate(target, high.brain.grid, brain.grid)
        return interpolated.clamp_min(0) * torch.from_numpy(brain.mask)

    for box in cutting.boxes(low.brain.mask, rng):
        part = low.crop(box)
        grid = concentric(part.brain.grid, ratio)
        fine = Brain(resample_mask(high.brain.mask, high.brain.grid, grid), grid)
        targets = target_on(part.brain), target_on(fine)
        yield TrainingExample.from_shell(part, *targets, fine.mask, ratio)


def cut_single(scan: Scan, cutting: Cutting, rng: np.random.Generator) -> Iterator[TrainingExample]:
    """Cut examples without a 7T side: their targets are empty."""
    nothing, no_mask = torch.zeros(3, 0, 0, 0), np.zeros((0, 0, 0), bool)
    with open_checked(scan) as low:
        for volumes in low.shells:
            if is_wanted(volumes, cutting.shells):
                shell = Shell.from_signal(low.measured(volumes))
                for box in cutting.boxes(shell.brain.mask, rng):
                    part = shell.crop(box)
                    yield TrainingExample.from_shell(part, nothing, nothing, no_mask, np.nan)


def concentric(grid: Grid, ratio: float) -> Grid:
    """Grid with the same centre and voxels ``ratio`` as large, within the same field of view."""
    n = np.maximum(np.floor(np.array(grid.shape) / ratio + 1e-6), 1).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    centre = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((n - 1) / 2)
    return Grid(tuple(n), affine)


def load_pairs(
    root: Path,
    pool: Path,
    cutting: Cutting,
    families: dict[str, str] | None = None,
    fold: str = "",
    team: Team | None = None,
) -> TrainingData:
    """Examples for training and validation, and who is in which.

    Parameters
    ----------
    root : Path
        BIDS data set with sessions 3T and 7T, or HCP's folders.
    pool : Path
        Where examples are kept; those that are there already are used again.
    cutting : Cutting
        Its seed decides the split too.
    families : dict, optional
        Family by subject; relatives stay together.
    fold : str
        "I/K": fold I of K is left out for testing.
    team : Team, optional

    Raises
    ------
    InputError
        If fewer than two subjects have both scans, or none of a part shares a shell.
    """
    source, team = open_dataset(root), team or Team()
    scans = {label: source.by_session(label) for label in source.labels}
    both = [label for label in source.labels if all(f in scans[label] for f in FIELDS)]
    if len(both) < 2:
        raise InputError(
            f"{root}: {len(both)} subjects with both a 3T and a 7T scan (ses-3T and ses-7T, or "
            "T1w/Diffusion and T1w/Diffusion_7T); training needs two at least."
        )
    skipped = [label for label in source.labels if label not in both]
    if skipped and team.leads:
        note(f"[pairs] skipped, without both fields: {', '.join(skipped)}")
    split = split_subjects(both, cutting.seed, families, fold)
    wanted = [*split.training, *split.validation]

    def cut(label: str, rng: np.random.Generator) -> Iterator[TrainingExample]:
        three, seven = (scans[label][field] for field in FIELDS)
        return cut_pair(three, seven, cutting, rng)

    sources = {label: [scans[label][field] for field in FIELDS] for label in wanted}
    cuts = fill_by_subject(pool, sources, cutting, cut, team)
    lacking = (
        f"3T and 7T scans that share a b-value and are {cutting.patch} voxels wide; training "
        "needs two subjects at least that do."
    )
    training, validation = both_parts(root, split, cuts, lacking)
    return TrainingData(training, validation, f"pairs of {root.resolve().name}", split)


def load_unpaired(
    root: Path,
    pool: Path,
    cutting: Cutting,
    split: SplitRecord | None = None,
    families: dict[str, str] | None = None,
    team: Team | None = None,
) -> tuple[list[Path], list[str]]:
    """Examples of 3T scans alone, for the 3T VQ-VAE.

    Subjects of the pairs are left out, and so are relatives of those kept for validation or
    testing.

    Parameters
    ----------
    root, pool, cutting, families, team
        As for :func:`load_pairs`.
    split : SplitRecord, optional
        Of the pairs.

    Returns
    -------
    paths : list of Path
    labels : list of str
        Subjects that they come from.

    Raises
    ------
    InputError
        If there is none.
    """
    source, team = open_dataset(root), team or Team()
    split = split or SplitRecord(training=(), validation=())
    paired = {*split.training, *split.validation, *split.test}
    rest = [label for label in source.labels if label not in paired]
    labels = strangers(rest, [*split.validation, *split.test], families)
    skipped = sorted(set(source.labels) - set(labels))
    if skipped and team.leads:
        note(f"[unpaired] skipped, among the pairs or related: {', '.join(skipped)}")
    scans = {
        label: [scan for name, scan in source.by_session(label).items() if name != "7T"]
        for label in labels
    }

    def cut(label: str, rng: np.random.Generator) -> Iterator[TrainingExample]:
        for scan in scans[label]:
            yield from cut_single(scan, cutting, rng)

    cuts = fill_by_subject(pool, {label: s for label, s in scans.items() if s}, cutting, cut, team)
    used = [label for label in labels if cuts.get(label)]
    if not used:
        raise InputError(
            f"{root}: no 3T scan of a subject outside the pairs is {cutting.patch} voxels wide; "
            "leave --unpaired out, or give other scans."
        )
    return [path for label in used for path in cuts[label]], used


def both_parts(
    root: Path, split: SplitRecord, cuts: dict[str, list[Path]], lacking: str
) -> tuple[list[Path], list[Path]]:
    """Examples for training and for validation.

    Parameters
    ----------
    root : Path
        The data set, for messages.
    split : SplitRecord
    cuts : dict
        Examples by subject.
    lacking : str
        What nobody has where a part is empty, and what to do.

    Raises
    ------
    InputError
        If a part has no examples.
    """
    parts = {"training": split.training, "validation": split.validation}
    paths = {name: [p for label in part for p in cuts[label]] for name, part in parts.items()}
    for name, found in paths.items():
        if not found:
            raise InputError(f"{root}: no subject for {name} has {lacking}")
    return paths["training"], paths["validation"]


def fill_by_subject(
    pool: Path, sources: dict[str, list[Scan]], cutting: Cutting, cut: Cut, team: Team
) -> dict[str, list[Path]]:
    """Cut what a pool lacks, each process its share.

    Parameters
    ----------
    pool : Path
    sources : dict of list of Scan
        By subject: when one of these files changed, the subject is cut anew.
    cutting : Cutting
    cut : callable
    team : Team

    Returns
    -------
    dict of list of Path
        Examples of every subject.
    """
    mine = team.share(list(sources))
    progress = Progress(pool.name, len(mine))
    for number, label in enumerate(mine, start=1):
        folder = pool / label
        origin = _origin(sources[label], cutting)
        if _read_origin(folder) == origin:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        count = 0
        for example in cut(label, np.random.default_rng(derive_seed(cutting.seed, label))):
            example.save(folder / f"{count:04d}.npz")
            count += 1
        # written last: a pool that was cut short is cut again
        write_whole(folder / ORIGIN, json.dumps(origin, indent=2) + "\n")
        progress.show(number, f"{label}: {count} examples ({number} of {len(mine)} subjects)")
    team.wait()
    return {label: sorted((pool / label).glob("[0-9]*.npz")) for label in sources}


def _origin(scans: list[Scan], cutting: Cutting) -> dict[str, Any]:
    """What the examples of a subject are cut from, and how."""
    files = [path for s in scans for path in (s.dwi, s.bval, s.bvec, s.mask) if path is not None]
    stats = [path.stat() for path in files if path.exists()]
    seen = [[p.name, s.st_size, s.st_mtime_ns] for p, s in zip(files, stats, strict=False)]
    return {"files": seen, **to_plain(cutting)}


def _read_origin(folder: Path) -> Any:
    try:
        return json.loads((folder / ORIGIN).read_text())
    except (OSError, ValueError):
        return None
