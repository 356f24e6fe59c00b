"""Whether a brain mask looks like the brain of one person, wholly within the image."""

from __future__ import annotations

import numpy as np

HUMAN_ML = (700.0, 2200.0)
"""Volumes of brain masks of people, from children to large heads with some skull; those of
newborns are smaller, and other than what models are trained on."""

TOUCHES = 0.1
"""Area of a mask on the image's border, over that of its largest slice, from which on it is
said to be cut."""

CUT = "a part of the brain was not measured"
"""How the sentence begins that says so."""


def extent_sentences(mask_XYZ: np.ndarray, voxel_sizes: np.ndarray) -> list[str]:
    """Say in plain sentences where a mask is not what a whole human brain's would be.

    Parameters
    ----------
    mask_XYZ : ndarray of bool
    voxel_sizes : ndarray (3,)
        mm.

    Examples
    --------
    >>> mask = np.zeros((20, 20, 20), bool)
    >>> mask[5:15, 5:15, 5:15] = True
    >>> extent_sentences(mask, np.full(3, 2.0))
    ['the brain mask holds 8 ml; that of an adult holds 700 to 2200 ml, of a newborn 250 to 550.']
    """
    sentences = []
    volume = float(mask_XYZ.sum() * np.prod(voxel_sizes) / 1000)
    low, high = HUMAN_ML
    if cut(mask_XYZ):
        sentences.append(f"{CUT}: its mask, {volume:.0f} ml, ends at the border of the image.")
    elif not low <= volume <= high:
        sentences.append(
            f"the brain mask holds {volume:.0f} ml; that of an adult holds {low:.0f} to "
            f"{high:.0f} ml, of a newborn 250 to 550."
        )
    n_empty = sum(empty_slices(mask_XYZ))
    if n_empty:
        slices = "slice within the brain has" if n_empty == 1 else "slices within the brain have"
        sentences.append(f"{n_empty} {slices} no signal.")
    return sentences


def _areas(mask_XYZ: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(other for other in range(3) if other != axis)
    return np.count_nonzero(mask_XYZ, axis=others)


def cut(mask_XYZ: np.ndarray) -> bool:
    """Whether a mask ends at the border of its image rather than before it."""
    return bool(cut_ends(mask_XYZ))


def cut_ends(mask_XYZ: np.ndarray) -> list[tuple[int, int]]:
    """Where a mask ends at the border of its image: axis, and 0 for its start or -1 for its end.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:7, 2:7, 4:] = True
    >>> cut_ends(mask)
    [(2, -1)]
    """
    areas = [_areas(mask_XYZ, axis) for axis in range(3)]
    return [
        (axis, end)
        for axis, area in enumerate(areas)
        for end in (0, -1)
        if area[end] >= TOUCHES * max(area.max(), 1)
    ]


def empty_slices(mask_XYZ: np.ndarray) -> tuple[int, int, int]:
    """How many slices across each axis hold nothing, with some that do on both sides."""

    def across(axis: int) -> int:
        filled = np.flatnonzero(_areas(mask_XYZ, axis))
        return int(filled[-1] - filled[0] + 1 - len(filled)) if len(filled) else 0

    return across(0), across(1), across(2)
