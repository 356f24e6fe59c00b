"""Scans of one session that belong together: parts of one acquisition, opposed pairs.

Parts are joined into one scan where nothing speaks against it: one grid, one direction of phase
encoding, the same times. What QSIPrep joins it calls so, too; its option keeps parts apart here
as there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_bvals
from dmri7t.io.images import load_image
from dmri7t.io.kinds.registry import kind_named
from dmri7t.io.scan import Candidate, Scan
from dmri7t.signal.gradients import B0_SPREAD, B0_THRESHOLD

BY_NAME = ("acq", "dir", "run")
"""Entities in which the names of parts may differ."""

DIRECTION = "PhaseEncodingDirection"

TIMES = ("EchoTime", "RepetitionTime", "TotalReadoutTime")
"""Fields of sidecars in which parts agree."""

SAME_TIME = 0.01
"""Values of these that differ by less than this share are the same."""

SAME_PLACE = 0.1
"""Grids of parts lie within this fraction of a voxel's edge of each other."""


def join_parts(
    candidates: Sequence[Candidate], b0_threshold: float = B0_THRESHOLD
) -> list[Candidate]:
    """Join the parts of one acquisition into one scan, which stands at the place of the first.

    Parts have the same ``MultipartID``, or names that differ in acq, dir and run alone, and
    nothing keeps them apart, see :func:`why_apart`.

    Parameters
    ----------
    candidates : sequence of Candidate
    b0_threshold : float
        Volumes up to this b-value (s/mm2) can be b0.
    """
    scans = [c.scan for c in candidates if c.scan is not None]
    stems = {scan.stem for scan in scans}
    joined: dict[Path, Scan] = {}
    into: dict[Path, Scan] = {}
    for family in _families(scans):
        for parts in _alike(family, b0_threshold):
            if len(parts) > 1:
                scan = _joined(parts, stems)
                stems = (stems - {part.stem for part in parts}) | {scan.stem}
                joined[scan.dwi] = scan
                into |= {part.dwi: scan for part in parts[1:]}
    return [
        Candidate(c.path, f"with {into[c.path].dwi.name}", joined=True)
        if c.path in into
        else attrs.evolve(c, scan=joined.get(c.path, c.scan))
        for c in candidates
    ]


def why_apart(one: Scan, other: Scan, b0_threshold: float = B0_THRESHOLD) -> str:
    """Say why two scans are not parts of one that could be joined; empty if they are.

    Headers and b-values are read.
    """
    axes = [str(scan.sidecar.get(DIRECTION) or "") for scan in (one, other)]
    if not all(axes):
        return f"not both of their sidecars say the {DIRECTION}"
    if axes[0] != axes[1]:
        return f"{DIRECTION} differs ({axes[0]} and {axes[1]})"
    for field in TIMES:
        values = [scan.sidecar.get(field) for scan in (one, other)]
        if not _same(*values):
            told = ["not told" if value is None else str(value) for value in values]
            return f"{field} differs ({told[0]} and {told[1]})"
    try:
        if _shift(one.dwi, other.dwi) > SAME_PLACE:
            return "they lie on different grids"
        lowest = [float(read_bvals(scan.bval).min()) for scan in (one, other)]
    except InputError as error:
        return str(error)
    if max(lowest) > b0_threshold or abs(lowest[0] - lowest[1]) > B0_SPREAD:
        return "not each of them has a b0, by which their signals could be brought to one scale"
    return ""


def _same(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=SAME_TIME)
    return one == other


def _shift(one: Path, other: Path) -> float:
    """How far corners of two images are apart, in edges of a voxel; infinite for other shapes."""
    images = [load_image(path) for path in (one, other)]
    shapes = [image.shape[:3] for image in images]
    if shapes[0] != shapes[1] or any(len(image.shape) != 4 for image in images):
        return math.inf
    ends = [(0, n - 1) for n in shapes[0]]
    corners = np.array([[x, y, z, 1] for x in ends[0] for y in ends[1] for z in ends[2]], float)
    apart = (images[0].affine - images[1].affine) @ corners.T
    edge = np.linalg.norm(images[0].affine[:3, :3], axis=0).min()
    return float(np.linalg.norm(apart[:3], axis=0).max() / edge)


def _families(scans: Sequence[Scan]) -> list[list[Scan]]:
    """Scans that could be parts of one acquisition: nobody resampled them or found a flaw."""
    families: dict[tuple[str, ...], list[Scan]] = defaultdict(list)
    for scan in scans:
        if scan.flaw or kind_named(scan.kind).resampled_by:
            continue
        head = scan.entities["sub"], scan.entities.get("ses", "")
        identity = scan.sidecar.get("MultipartID")
        rest = [f"{k}-{v}" for k, v in scan.entities.items() if k not in BY_NAME]
        families[(*head, str(identity)) if identity else (*head, "", *rest)].append(scan)
    return [own for own in families.values() if len(own) > 1]


def _alike(family: Sequence[Scan], b0_threshold: float) -> list[list[Scan]]:
    """Part a family into sets that can be joined."""
    sets: list[list[Scan]] = []
    for scan in family:
        fitting = (own for own in sets if not why_apart(own[0], scan, b0_threshold))
        own = next(fitting, None)
        if own is None:
            sets.append([scan])
        else:
            own.append(scan)
    return sets


def _joined(parts: Sequence[Scan], stems: set[str]) -> Scan:
    """One scan of several; its name has what their names share, if no other scan has that name."""
    first, own = parts[0], {part.stem for part in parts}
    common = {k: v for k, v in first.entities.items() if _all_have(parts, "entities", k, v)}
    shorter = attrs.evolve(first, entities=common)
    tables = [part.grad_b for part in parts]
    return attrs.evolve(
        first,
        entities=first.entities if shorter.stem in stems - own else common,
        sidecar={k: v for k, v in first.sidecar.items() if _all_have(parts, "sidecar", k, v)},
        mask=next((part.mask for part in parts if part.mask), None),
        grad_b=first.grad_b if all(tables) else None,
        excluded=(),
        parts=tuple(attrs.evolve(p, grad_b=p.grad_b if all(tables) else None) for p in parts),
    )


def _all_have(parts: Sequence[Scan], what: str, key: str, value: object) -> bool:
    return all(getattr(part, what).get(key) == value for part in parts)


def part_remarks(
    scans: Sequence[Scan], b0_threshold: float = B0_THRESHOLD, separate: bool = False
) -> list[str]:
    """Say which scans are joined, which are not and why, and which were acquired oppositely.

    Parameters
    ----------
    scans : sequence of Scan
        As :func:`join_parts` left them.
    b0_threshold : float
    separate : bool
        Whether the user wanted nothing to be joined.
    """
    lines = [
        f"{scan.stem}: joined from {' and '.join(part.dwi.name for part in scan.parts)}; "
        "--separate-all-dwis translates each for itself"
        for scan in scans
        if scan.parts
    ]
    for family in _families(scans):
        for scan in family[1:]:
            why = "--separate-all-dwis" if separate else why_apart(family[0], scan, b0_threshold)
            if not _are_opposed(family[0], scan):
                lines.append(
                    f"{family[0].stem}, {scan.stem}: not joined ({why}); each is translated for "
                    "itself"
                )
    sessions: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        sessions[scan.entities["sub"], scan.entities.get("ses", "")].append(scan)
    return lines + [line for own in sessions.values() for line in _opposed(own)]


def _axis(scan: Scan) -> str:
    return str(scan.sidecar.get(DIRECTION) or "")


def _are_opposed(one: Scan, other: Scan) -> bool:
    axes = {_axis(one), _axis(other)}
    return any(axes == {axis, f"{axis}-"} for axis in "ijk")


def _opposed(scans: Sequence[Scan]) -> list[str]:
    axes: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        axes[_axis(scan)].append(scan.stem)
    return [
        f"{', '.join([*axes[axis], *axes[axis + '-']])}: acquired in opposite directions ({axis} "
        f"and {axis}-), so they are distorted in opposite ways and never joined; each is "
        "translated for itself. QSIPrep corrects such pairs: give its results to have them as one."
        for axis in ("i", "j", "k")
        if axis in axes and f"{axis}-" in axes
    ]
