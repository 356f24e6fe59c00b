"""Volumes of a scan that are left out: the user names them, or the scan's sidecar does."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_table
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
        else attrs.evolve(candidate, scan=_without(candidate.scan, asked))
        for candidate in candidates
    ]


def _without(scan: Scan, asked: Sequence[int]) -> Scan:
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
    return [volume for volume in range(n_volumes) if volume not in excluded]


def read_kept(scan: Scan, affine: np.ndarray) -> GradientTable:
    """Read the gradients of the volumes of a scan that are used.

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
    table = read_table(scan.bval, scan.bvec, affine, scan.grad_b)
    return table.take(kept_volumes(scan, len(table)))


def describe_excluded(scan: Scan) -> str:
    """Numbers of the volumes that are left out, for sentences.

    Examples
    --------
    >>> from pathlib import Path
    >>> scan = Scan(Path("d"), Path("b"), Path("v"), {}, {"sub": "1"}, "bids::d", excluded=(-1, 2))
    >>> describe_excluded(scan)
    '2, last'
    """
    named = sorted(scan.excluded, key=lambda volume: (volume == LAST, volume))
    return ", ".join("last" if volume == LAST else str(volume) for volume in named)
