"""Volumes of a scan that are left out: the user names them, or the scan's sidecar does."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_bvals, read_table
from dmri7t.io.scan import Candidate, Scan
from dmri7t.signal.gradients import GradientTable

FIELD = "ExcludedVolumes"
"""Field of a sidecar that lists volumes to leave out, counted from 0."""

LAST = -1
"""Stands for the last volume."""


def read_volumes(text: str) -> list[int]:
    """Read numbers of volumes, counted from 0, from a word of the command line.

    Raises
    ------
    ValueError
        If there is anything else than numbers, ranges and ``last``.

    Examples
    --------
    >>> read_volumes("3,64-66"), read_volumes("last")
    ([3, 64, 65, 66], [-1])
    """
    volumes: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if part == "last":
            volumes.append(LAST)
        else:
            start, end = int(first), int(last if dash else first)
            if not 0 <= start <= end < 10**6:
                raise ValueError(f"{part}: no range of volumes")
            volumes += range(start, end + 1)
    return volumes


def without_volumes(candidates: Sequence[Candidate], asked: Sequence[int]) -> list[Candidate]:
    """Note which volumes of every scan are left out: those asked for, and its sidecar's."""
    return [
        candidate
        if candidate.scan is None
        else attrs.evolve(candidate, scan=without(candidate.scan, asked))
        for candidate in candidates
    ]


def without(scan: Scan, asked: Sequence[int] = ()) -> Scan:
    """Note which volumes of a scan are left out; a sidecar that says it wrongly is its flaw."""
    listed = scan.sidecar.get(FIELD, [])
    if not isinstance(listed, list) or any(type(v) is not int or v < 0 for v in listed):
        flaw = f"{scan.dwi}: {FIELD} in its sidecar must list volumes, counted from 0; mend it."
        return attrs.evolve(scan, flaw=scan.flaw or flaw)
    return attrs.evolve(scan, excluded=tuple(sorted({*asked, *listed})))


def kept_volumes(scan: Scan, n_volumes: int) -> list[int]:
    """Volumes of a series of so many that are used.

    Raises
    ------
    InputError
        If one that is to be left out is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> scan = Scan(Path("d"), Path("b"), Path("v"), {}, {"sub": "1"}, "bids::d", excluded=(-1, 2))
    >>> kept_volumes(scan, 5)
    [0, 1, 3]
    """
    excluded = {n_volumes - 1 if volume == LAST else volume for volume in scan.excluded}
    beyond = [volume for volume in sorted(excluded) if volume >= n_volumes]
    if beyond:
        raise InputError(
            f"{scan.dwi}: has {n_volumes} volumes, 0 to {n_volumes - 1}, and volume {beyond[0]} "
            f"is to be left out; correct --exclude-volumes, or {FIELD} in its sidecar."
        )
    kept = [volume for volume in range(n_volumes) if volume not in excluded]
    if not kept:
        raise InputError(
            f"{scan.dwi}: none of its {n_volumes} volumes is left; correct --exclude-volumes, or "
            f"{FIELD} in its sidecar."
        )
    return kept


def read_kept(scan: Scan, affine: np.ndarray) -> GradientTable:
    """Read the gradients of the volumes of a scan that are used, of all its parts.

    Parameters
    ----------
    scan : Scan
    affine : ndarray (4, 4)
        Of its image.

    Raises
    ------
    InputError
        If the files are not readable or do not fit together.
    """
    tables = []
    for part in scan.series:
        table = read_table(part.bval, part.bvec, affine, part.grad_b)
        tables.append(table.take(kept_volumes(part, len(table))))
    return GradientTable(
        np.concatenate([table.bvals for table in tables]),
        np.concatenate([table.directions for table in tables]),
    )


def used_volumes(scan: Scan) -> tuple[tuple[int, ...], ...]:
    """Volumes of every part of a scan that are used; empty where all of one series are.

    Raises
    ------
    InputError
        If a file of b-values cannot be read, or a volume that is to be left out is not there.
    """
    if not scan.parts and not scan.excluded:
        return ()
    return tuple(tuple(kept_volumes(p, len(read_bvals(p.bval)))) for p in scan.series)


def describe_excluded(scan: Scan) -> str:
    """Numbers of the volumes that are left out, for sentences; empty if none are.

    Examples
    --------
    >>> from pathlib import Path
    >>> scan = Scan(Path("d"), Path("b"), Path("v"), {}, {"sub": "1"}, "bids::d", excluded=(-1, 2))
    >>> describe_excluded(scan)
    '2, last'
    """
    if scan.parts:
        told = [(part.dwi.name, describe_excluded(part)) for part in scan.parts if part.excluded]
        return "; ".join(f"{numbers} of {name}" for name, numbers in told)
    named = sorted(scan.excluded, key=lambda volume: (volume == LAST, volume))
    return ", ".join("last" if volume == LAST else str(volume) for volume in named)
