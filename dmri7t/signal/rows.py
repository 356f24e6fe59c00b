"""Some rows of an array, without a copy where none is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

Rows = TypeVar("Rows", np.ndarray, torch.Tensor)
"""Whatever has rows."""


def take_rows(values: Rows, rows: Sequence[int]) -> Rows:
    """Take rows (n, ...) out of an array (N, ...).

    Rows that follow one another are a view: of an array that is mapped, nothing is read yet.

    Parameters
    ----------
    values : ndarray or Tensor (N, ...)
    rows : sequence of int
        One or more, none below zero.

    Raises
    ------
    IndexError
        If there is no such row.

    Examples
    --------
    >>> values = np.arange(4)
    >>> take_rows(values, [1, 2]).base is values, take_rows(values, [2, 0]).tolist()
    (True, [2, 0])
    >>> take_rows(values, [3, 4])
    Traceback (most recent call last):
    ...
    IndexError: row 4 of an array of 4
    """
    first, last = rows[0], rows[-1]
    if max(rows) >= len(values):
        raise IndexError(f"row {max(rows)} of an array of {len(values)}")
    if list(rows) == list(range(first, last + 1)):
        return values[first : last + 1]
    return values[list(rows)]
