"""Scans of one session that belong together: parts of one acquisition, opposed pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dmri7t.io.scan import Scan


def part_remarks(scans: Sequence[Scan]) -> list[str]:
    """Say which scans are parts of one, and which were acquired in opposite directions.

    Each is translated for itself: without correction of motion and distortion they do not fit
    together.

    Examples
    --------
    >>> from pathlib import Path
    >>> def scan(run: str, axis: str) -> Scan:
    ...     fields = {"MultipartID": "dwi_1", "PhaseEncodingDirection": axis}
    ...     names = {"sub": "1", "run": run}
    ...     return Scan(Path("d"), Path("b"), Path("v"), fields, names, "bids::d")
    >>> part_remarks([scan("1", "j"), scan("2", "j")])[0]
    'sub-1_run-1, sub-1_run-2: parts of one acquisition (MultipartID dwi_1); each is translated ...'
    >>> part_remarks([scan("1", "j"), scan("2", "j-")])[1][:66]
    'sub-1_run-1, sub-1_run-2: acquired in opposite directions (j and j'
    """
    sessions: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        sessions[scan.entities["sub"], scan.entities.get("ses", "")].append(scan)
    lines = []
    for own in sessions.values():
        lines += _parts(own)
        lines += _opposed(own)
    return lines


def _parts(scans: list[Scan]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        if name := scan.sidecar.get("MultipartID"):
            groups[str(name)].append(scan.stem)
    return [
        f"{', '.join(stems)}: parts of one acquisition (MultipartID {name}); each is translated "
        "for itself. QSIPrep joins them: give its results to have them as one."
        for name, stems in groups.items()
        if len(stems) > 1
    ]


def _opposed(scans: list[Scan]) -> list[str]:
    axes: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        axes[str(scan.sidecar.get("PhaseEncodingDirection", ""))].append(scan.stem)
    return [
        f"{', '.join([*axes[axis], *axes[axis + '-']])}: acquired in opposite directions ({axis} "
        f"and {axis}-), so they are distorted in opposite ways and never mixed; each is "
        "translated for itself."
        for axis in ("i", "j", "k")
        if axis in axes and f"{axis}-" in axes
    ]
