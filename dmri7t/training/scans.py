"""Training examples from single 3T scans: one part of a shell's directions against the others.

No 7T scan is needed. The part that is given is cropped in k-space and made noisier, so that there
is something to restore; the others, as they were measured, are the target. Their noise is
independent of what the network sees, so it cannot be learned, and their RISH are taken without the
noise's share, below zero too where chance has it so: the mean over examples is what it would be
without noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import attrs
import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.io.opened import OpenScan, open_checked
from dmri7t.io.scan import Scan
from dmri7t.io.search import Query
from dmri7t.io.source import open_dataset
from dmri7t.models.fitted import ScansRecord
from dmri7t.progress import note
from dmri7t.signal.gradients import ShellVolumes, split_directions, tells_tensor
from dmri7t.signal.harmonics import plan_fit
from dmri7t.signal.reference import Reference
from dmri7t.signal.resample import extend, interpolate
from dmri7t.signal.shell import Shell
from dmri7t.training.data import Item, TrainingData
from dmri7t.training.example import TrainingExample
from dmri7t.training.halves import FEWEST, Degradation, read_halves
from dmri7t.training.pairs import Cutting, both_parts, fill_by_subject, is_wanted
from dmri7t.training.splits import split_subjects
from dmri7t.training.team import Team

DRAWS = 6
"""Ways to part and to degrade a shell; its examples are spread over them."""

HALVES = 0.5
"""Chance that both parts are halves, each spread well; else few directions stand against many, or
many against few."""

TRIES = 20
"""Parts are drawn so often at most until both tell a tensor."""

CROPS = (1.0, 1.5)
"""Least and most by which k-space is cropped along each axis."""

AS_IT_IS = 1 / 3
"""Chance that no noise is added."""

LOUDEST = 4.0
"""Most noise over the scan's own; its logarithm is spread evenly."""


def draw_parts(
    directions_N3: np.ndarray, rng: np.random.Generator
) -> tuple[list[int], list[int]] | None:
    """Part directions into those that are given and those that are kept as target.

    Returns
    -------
    tuple of two lists of int, optional
        Of six directions at least, each of which tell a tensor; None if no such parts were found.
    """
    n = len(directions_N3)
    if n < 2 * FEWEST:
        return None
    if rng.random() >= HALVES and n > 2 * FEWEST:
        for _ in range(TRIES):
            order = rng.permutation(n)
            first = int(rng.integers(FEWEST, n - FEWEST + 1))
            given, kept = sorted(order[:first].tolist()), sorted(order[first:].tolist())
            if tells_tensor(directions_N3[given]) and tells_tensor(directions_N3[kept]):
                return given, kept
    halves = split_directions(directions_N3)
    if not all(tells_tensor(directions_N3[half]) for half in halves):
        return None
    return halves if rng.random() < 0.5 else (halves[1], halves[0])


def draw_degradation(rng: np.random.Generator) -> Degradation:
    """Draw what makes a part a worse scan."""
    noise = 1.0
    if rng.random() >= AS_IT_IS:
        noise = float(np.exp(rng.uniform(0, np.log(LOUDEST))))
    return Degradation(float(rng.uniform(*CROPS)), noise, int(rng.integers(2**31)))


def cut_scan(scan: Scan, cutting: Cutting, rng: np.random.Generator) -> Iterator[TrainingExample]:
    """Cut examples from the shells of a scan; a shell that cannot be parted is left out."""
    with open_checked(scan) as opened:
        for shell in opened.shells:
            if not is_wanted(shell, cutting.shells):
                continue
            directions_N3 = opened.table.directions[list(shell.indices)]
            if draw_parts(directions_N3, np.random.default_rng(0)) is None:
                note(
                    f"[scans] {scan.stem} {shell.name}: left out, {len(shell)} directions make no "
                    f"two parts of {FEWEST} that tell a tensor"
                )
                continue
            yield from _cut_shell(opened, shell, cutting, rng)


def _cut_shell(
    opened: OpenScan, shell: ShellVolumes, cutting: Cutting, rng: np.random.Generator
) -> Iterator[TrainingExample]:
    whole = opened.measured(shell)
    sigma = whole.noise(plan_fit(whole.directions_N3))
    for share in np.array_split(np.arange(cutting.patches), min(DRAWS, cutting.patches)):
        parts = draw_parts(whole.directions_N3, rng)
        if parts is None:
            continue
        given, kept = read_halves(opened, shell, parts)
        degraded = draw_degradation(rng).apply(given, given.volumes())
        reference = Reference.of(kept.measured, sigma)
        low = widened(Shell.from_signal(degraded), cutting.patch)
        yield from part_examples(low, reference, attrs.evolve(cutting, patches=len(share)), rng)


def widened(shell: Shell, edge: int) -> Shell:
    """Add voxels outside the mask until no edge of the image is shorter than this."""
    brain = shell.brain
    lacking = [max(0, edge - n) for n in brain.mask.shape]
    if not any(lacking):
        return shell
    margins = [(n // 2, n - n // 2) for n in lacking]
    return attrs.evolve(shell, brain=brain.padded(margins))


def part_examples(
    low: Shell, reference: Reference, cutting: Cutting, rng: np.random.Generator
) -> Iterator[TrainingExample]:
    """Cut examples from one part of a shell against the reference of another.

    Parameters
    ----------
    low : Shell
        Of the part that was degraded.
    reference : Reference
    cutting : Cutting
    rng : Generator
        Chooses where examples lie.
    """
    values, grid = extend(reference.rish_3V, reference.brain.mask), reference.brain.grid
    nothing, no_mask = torch.zeros(3, 0, 0, 0), np.zeros((0, 0, 0), bool)
    for box in cutting.boxes(low.brain.mask, rng):
        part = low.crop(box)
        target = interpolate(values, grid, part.brain.grid) * torch.from_numpy(part.brain.mask)
        example = TrainingExample.from_shell(part, target, nothing, no_mask, np.nan)
        yield attrs.evolve(
            example, orders=np.array(reference.orders, np.uint8), measured=np.array(True)
        )


def load_scans(
    root: Path,
    pool: Path,
    cutting: Cutting,
    families: dict[str, str] | None = None,
    fold: str = "",
    team: Team | None = None,
) -> TrainingData:
    """Examples of single 3T scans for training and validation, split by person.

    Parameters
    ----------
    root : Path
        Any input that the app takes.
    pool, cutting, families, fold, team
        As for :func:`dmri7t.training.pairs.load_pairs`.

    Raises
    ------
    InputError
        If fewer than two subjects have a 3T scan, or those of a part give no examples.
    """
    source, team = open_dataset(root), team or Team()
    # parts of one acquisition may differ in b0 and noise: each is a scan by itself
    scans = {
        label: [c.scan for c in source.find(Query([label], separate=True)) if c.scan is not None]
        for label in source.labels
    }
    labels = [label for label in source.labels if scans[label]]
    if len(labels) < 2:
        raise InputError(
            f"{root}: {len(labels)} subjects with a 3T diffusion scan; training needs two at "
            "least, one of them for validation."
        )
    split = split_subjects(labels, cutting.seed, families, fold)

    def cut(label: str, rng: np.random.Generator) -> Iterator[TrainingExample]:
        for scan in scans[label]:
            yield from cut_scan(scan, cutting, rng)

    wanted = [*split.training, *split.validation]
    cuts = fill_by_subject(pool, {label: scans[label] for label in wanted}, cutting, cut, team)
    lacking = f"a shell of {2 * FEWEST} directions or more that can be parted; give further scans."
    training, validation = both_parts(root, split, cuts, lacking)
    name = root.resolve().name
    record = ScansRecord(
        dataset=name,
        subjects=len(wanted),
        scans=sum(len(scans[label]) for label in wanted),
        examples=len(training),
    )
    return TrainingData(training, validation, f"single 3T scans of {name}", split, scans=record)


def mix(data: TrainingData, simulated: list[Path], part: float) -> TrainingData:
    """Add simulated examples until they are a part of what is learned from.

    They come back as often as that takes; validation stays with the scans.

    Parameters
    ----------
    data : TrainingData
        Of :func:`load_scans`.
    simulated : list of Path
    part : float
        0 to below 1.
    """
    count = simulated_count(len(data.training), part)
    if not count or data.scans is None:
        return data
    mixed = [*data.training, *map(Item, islice(cycle(simulated), count))]
    record = attrs.evolve(data.scans, simulated_part=round(count / len(mixed), 3))
    source = f"simulated blocks and {data.source}"
    return attrs.evolve(data, training=mixed, source=source, scans=record)


def simulated_count(n_scans: int, part: float) -> int:
    """How many simulated examples, beside so many of scans, are a part of all.

    Examples
    --------
    >>> simulated_count(30, 0.25), simulated_count(30, 0.0)
    (10, 0)
    """
    return round(n_scans * part / (1 - part))
