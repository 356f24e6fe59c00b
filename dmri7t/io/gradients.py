"""Gradient files: FSL's bval and bvec, MRtrix's .b."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.gradients import GradientTable


def _numbers(path: Path | str, what: str) -> np.ndarray:
    try:
        with open(path) as file:
            rows = [line.replace(",", " ").split() for line in file]
        rows = [row for row in rows if row and not row[0].startswith("#")]
        return np.array(rows, float)
    except OSError as error:
        raise InputError(f"{path}: the {what} cannot be read ({error.strerror}); add it") from error
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers; mend the {what}") from error


def read_bvals(path: Path | str) -> np.ndarray:
    """Read b-values (N,) in s/mm2, in a row or a column.

    Raises
    ------
    InputError
        If the file is missing, is no row of numbers, or holds values that cannot be b-values.
    """
    bvals = _numbers(path, "bval file").ravel()
    if not len(bvals) or not np.isfinite(bvals).all() or bvals.min() < 0:
        raise InputError(f"{path}: b-values must be finite and not below zero; mend the bval file")
    return bvals


def read_bvecs(path: Path | str) -> np.ndarray:
    """Read FSL's gradient vectors as (3, N), from three rows or three columns.

    Raises
    ------
    InputError
        If the file is missing or its shape is another.
    """
    bvecs = _numbers(path, "bvec file")
    if bvecs.ndim != 2 or 3 not in bvecs.shape:
        raise InputError(f"{path}: expected three rows of numbers; mend the bvec file")
    return bvecs if bvecs.shape[0] == 3 else bvecs.T


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
        rows = _numbers(grad_b, "gradient table")
        if rows.ndim != 2 or rows.shape != (len(bvals), 4):
            raise InputError(f"{grad_b}: expected {len(bvals)} rows of x, y, z and b; mend it")
        vectors = np.nan_to_num(rows[:, :3])
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
        return GradientTable(bvals, unit)
    bvecs = read_bvecs(bvec)
    if bvecs.shape[1] != len(bvals):
        raise InputError(
            f"{bvec}: {bvecs.shape[1]} directions but {len(bvals)} b-values in {Path(bval).name}; "
            "the two files do not belong together"
        )
    return GradientTable.from_fsl(bvals, np.nan_to_num(bvecs), affine)


def write_fsl(table: GradientTable, affine: np.ndarray, bval: Path | str, bvec: Path | str) -> None:
    """Write bval and bvec for an image with this affine."""
    from dmri7t.io.images import whole_file

    with whole_file(bval) as part:
        part.write_text(" ".join(f"{b:g}" for b in table.bvals) + "\n")
    rows = [" ".join(f"{x:.8f}" for x in row) for row in table.to_fsl(affine)]
    with whole_file(bvec) as part:
        part.write_text("\n".join(rows) + "\n")
