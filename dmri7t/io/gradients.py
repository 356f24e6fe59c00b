"""Gradient files: FSL's bval and bvec, MRtrix's .b, and headers of MRtrix's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.mif import is_mif, read_gradients, read_mif
from dmri7t.io.texts import read_text
from dmri7t.signal.gradients import GradientTable

SAME_B, SAME_B_SHARE = 20.0, 0.05
"""b-values that differ by less, in s/mm2 or as a share, are the same: MRtrix scales them by the
length of a vector that is not quite one."""

LONGEST = 1.5
"""Components of gradient vectors are smaller than this; b-values in one file are not."""

SMALL_B = 20.0
"""Highest b-values up to this are those of b0s in s/mm2, or weighted ones in ms/um2."""

SAME_DEGREES = 5.0
"""Directions closer than this are the same: two decimals in a file turn a vector by less than 1."""


def _numbers(path: Path | str, what: str) -> np.ndarray:
    rows = [line.replace(",", " ").split() for line in read_text(path).splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    if not rows:
        raise InputError(f"{path}: is empty; copy the {what} again, or convert the scan again")
    try:
        return np.array(rows, float)
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers; mend the {what}") from error


def read_bvals(path: Path | str) -> np.ndarray:
    """Read b-values (N,) in s/mm2, in a row or a column; or out of the header of a .mif image.

    Raises
    ------
    InputError
        If the file is missing, is no row of numbers, or holds values that cannot be b-values.
    """
    rows = read_gradients(path)[None, :, 3] if is_mif(path) else _numbers(path, "bval file")
    if min(rows.shape) == 3 < rows.size // 3 and np.nanmax(np.abs(rows)) < LONGEST:
        raise InputError(
            f"{path}: holds three rows of small numbers, as a bvec file does; if bval and bvec "
            "are swapped, exchange their names"
        )
    bvals = rows.ravel()
    if not len(bvals) or not np.isfinite(bvals).all() or bvals.min() < 0:
        raise InputError(f"{path}: b-values must be finite and not below zero; mend the bval file")
    return bvals


def looks_small(bvals_N: np.ndarray) -> bool:
    """Whether b-values run from about 0 to so little that they can be in ms/um2.

    Examples
    --------
    >>> looks_small(np.array([0, 1, 2.5])), looks_small(np.array([5, 5])), looks_small(np.zeros(2))
    (True, False, False)
    """
    highest = float(bvals_N.max(initial=0))
    return 0 < highest <= SMALL_B and float(bvals_N.min()) <= highest / 10


def read_bvecs(path: Path | str) -> np.ndarray:
    """Read FSL's gradient vectors as (3, N), from three rows or three columns, or of a .mif image.

    Raises
    ------
    InputError
        If the file is missing or its shape is another.
    """
    if is_mif(path):
        bvals, vectors = read_mrtrix(path, len(read_gradients(path)), False)
        return GradientTable(bvals, vectors).to_fsl(read_mif(path).affine)
    bvecs = _numbers(path, "bvec file")
    if min(bvecs.shape) == 1 and bvecs.size > 3:
        raise InputError(
            f"{path}: holds one row of {bvecs.size} numbers, as a bval file does; if bval and bvec "
            "are swapped, exchange their names"
        )
    if bvecs.ndim != 2 or 3 not in bvecs.shape:
        raise InputError(f"{path}: expected three rows of numbers; mend the bvec file")
    return bvecs if bvecs.shape[0] == 3 else bvecs.T


def read_mrtrix(
    path: Path | str, n_volumes: int, unit: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Read MRtrix's gradient table: b-values (N,) in s/mm2, vectors (N, 3), scanner frame.

    Vectors are of unit length, or with ``unit=False`` as they stand there.

    Raises
    ------
    InputError
        If it is no table of x, y, z and b with a row for each volume.
    """
    rows = read_gradients(path) if is_mif(path) else _numbers(path, "gradient table")
    if rows.ndim != 2 or rows.shape != (n_volumes, 4):
        raise InputError(f"{path}: expected {n_volumes} rows of x, y, z and b; mend it")
    vectors = np.nan_to_num(rows[:, :3])
    if not unit:
        return rows[:, 3], vectors
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows[:, 3], np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)


def check_agreement(
    bval: Path | str,
    bvec: Path | str,
    grad_b: Path | str,
    affine: np.ndarray,
    b0_threshold: float,
    volumes: Sequence[int] | None = None,
) -> None:
    """See that MRtrix's table and FSL's pair say the same.

    The same program wrote both from the same table. Where they differ one was changed since, and
    nothing tells which: a wrong guess would turn every fibre.

    Parameters
    ----------
    bval, bvec, grad_b : path
    affine : ndarray (4, 4)
        Of the image.
    b0_threshold : float
        Volumes up to this b-value need no direction.
    volumes : sequence of int, optional
        That are looked at; by default all.

    Raises
    ------
    InputError
        If a b-value or a direction differs.
    """
    table = read_table(bval, bvec, affine)
    bvals, directions = read_mrtrix(grad_b, len(table))
    looked_at = np.isin(np.arange(len(table)), range(len(table)) if volumes is None else volumes)
    keep = (
        f"remove the wrong one: without {Path(grad_b).name} the bvec file is used, or write both "
        "again."
    )
    apart = np.abs(bvals - table.bvals)
    far = np.flatnonzero(looked_at & (apart > np.maximum(SAME_B, SAME_B_SHARE * table.bvals)))
    if len(far):
        raise InputError(
            f"{grad_b}: volume {far[0]} has b = {bvals[far[0]]:g}, in {Path(bval).name} it has "
            f"{table.bvals[far[0]]:g}; {keep}"
        )
    weighted = looked_at & (table.bvals > b0_threshold)
    # opposite directions are the same
    cosine = np.abs((directions * table.directions).sum(1)).clip(0, 1)
    angles = np.where(weighted, np.rad2deg(np.arccos(cosine)), 0)
    if angles.max(initial=0) > SAME_DEGREES:
        worst, n = int(angles.argmax()), int((angles > SAME_DEGREES).sum())
        raise InputError(
            f"{grad_b}: disagrees with {Path(bvec).name} in {n} of {int(weighted.sum())} "
            f"directions (volume {worst}: {angles[worst]:.0f} degrees apart in the scanner's "
            f"frame); {keep}"
        )


def read_table(
    bval: Path | str, bvec: Path | str, affine: np.ndarray, grad_b: Path | str | None = None
) -> GradientTable:
    """Read the gradients of a scan; MRtrix's file, which is in the scanner frame, goes first.

    Parameters
    ----------
    bval, bvec : path
    affine : ndarray (4, 4)
        Of the image.
    grad_b : path, optional

    Raises
    ------
    InputError
        If the files do not fit together.
    """
    bvals = read_bvals(bval)
    if grad_b is not None:
        return GradientTable(bvals, read_mrtrix(grad_b, len(bvals))[1])
    bvecs = read_bvecs(bvec)
    if bvecs.shape[1] != len(bvals):
        raise InputError(
            f"{bvec}: {bvecs.shape[1]} directions but {len(bvals)} b-values in {Path(bval).name}; "
            "the two files do not belong together"
        )
    return GradientTable.from_fsl(bvals, np.nan_to_num(bvecs), affine)


def write_mrtrix(table: GradientTable, path: Path | str) -> None:
    """Write MRtrix's table: a row a volume of x, y, z in the scanner frame, and b in s/mm2."""
    from dmri7t.files import write_whole

    rows = np.column_stack([table.directions, table.bvals])
    write_whole(path, "".join(f"{x:.8f} {y:.8f} {z:.8f} {b:g}\n" for x, y, z, b in rows))


def write_fsl(table: GradientTable, affine: np.ndarray, bval: Path | str, bvec: Path | str) -> None:
    """Write bval and bvec for an image with this affine."""
    from dmri7t.files import write_whole

    write_whole(bval, " ".join(f"{b:g}" for b in table.bvals) + "\n")
    rows = [" ".join(f"{x:.8f}" for x in row) for row in table.to_fsl(affine)]
    write_whole(bvec, "\n".join(rows) + "\n")
