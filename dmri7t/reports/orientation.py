"""Whether the gradient table fits the image: do principal directions follow their bundles?

In the right frame, a step along the principal direction of a voxel of white matter mostly ends
in a voxel with the same direction. The mean agreement is the fibre coherence; it is compared
with what it would be had axes of the table been flipped or exchanged. After Schilling et al. 2019,
"A fiber coherence index for quality control of B-table orientation in diffusion MRI scans",
doi:10.1016/j.mri.2019.01.018.
"""

from __future__ import annotations

from itertools import permutations

import attrs
import numpy as np

from dmri7t.reports.views import View

WHITE_FA = 0.35
"""Voxels above this FA take part."""

ENOUGH = 500
"""Fewer of them tell nothing."""

MARGIN = 0.01
"""By how much another table must fit better before the page warns; on real scans, flips cost 0.05
or more."""

AXIS_NAMES = ("x", "y", "z")


@attrs.frozen
class OrientationCheck:
    """Agreement of neighbours along the principal direction, 0 to 1.

    Parameters
    ----------
    as_given : float
    other : float
        The best among flipped and exchanged axes.
    change : str
        What was done to the axes for it, in words.
    """

    as_given: float
    other: float
    change: str

    @property
    def suspicious(self) -> bool:
        """Whether another table fits clearly better."""
        return self.other > self.as_given + MARGIN


def check_orientation(
    view: View, fa_V: np.ndarray, direction_V3: np.ndarray, most: int = 40_000
) -> OrientationCheck | None:
    """Compare the directions as they are with flipped and exchanged axes of the image.

    Parameters
    ----------
    view : View
    fa_V : ndarray (V,)
    direction_V3 : ndarray (V, 3)
        Unit vectors, scanner frame.
    most : int
        At most so many voxels are looked at, evenly chosen.

    Returns
    -------
    OrientationCheck or None
        None where too few voxels have a clear direction.
    """
    voxels_3W = np.stack(np.nonzero(view.lookup_XYZ >= 0))
    values_W = view.lookup_XYZ[tuple(voxels_3W)]
    chosen = np.flatnonzero(fa_V[values_W] > WHITE_FA)
    if len(chosen) < ENOUGH:
        return None
    chosen = chosen[:: -(-len(chosen) // most)]
    voxels_3P = voxels_3W[:, chosen]
    along_V3 = direction_V3 @ view.axes_33
    coherences: dict[str, float] = {}
    for order in permutations(range(3)):
        for flipped in (None, 0, 1, 2):
            sign = np.ones(3)
            if flipped is not None:
                sign[flipped] = -1
            words = _words(order, flipped)
            coherences[words] = _coherence(view, voxels_3P, along_V3, fa_V, order, sign)
    as_given = coherences.pop("")
    change = max(coherences, key=coherences.__getitem__)
    return OrientationCheck(as_given, coherences[change], change)


def _words(order: tuple[int, ...], flipped: int | None) -> str:
    parts = []
    if order != (0, 1, 2):
        parts.append("axes in the order " + ", ".join(AXIS_NAMES[axis] for axis in order))
    if flipped is not None:
        parts.append(f"{AXIS_NAMES[flipped]} flipped")
    return " and ".join(parts)


def _coherence(
    view: View,
    voxels_3P: np.ndarray,
    along_V3: np.ndarray,
    fa_V: np.ndarray,
    order: tuple[int, ...],
    sign: np.ndarray,
) -> float:
    """Mean |cosine| between voxels and those one step along their direction, weighted by FA.

    Exchanging and flipping the same axes of two vectors leaves their cosine as it is: the change
    decides only which neighbour is asked.
    """
    values_P = view.lookup_XYZ[tuple(voxels_3P)]
    here_P3 = along_V3[values_P]
    steps = here_P3[:, order] * sign / view.sizes_3
    # to one of the 26 neighbours: the longest component is one voxel
    steps = np.rint(steps / np.maximum(np.abs(steps).max(1, keepdims=True), 1e-9)).astype(int)
    limits = np.array(view.lookup_XYZ.shape)[:, None]
    total = weight = 0.0
    for way in (1, -1):
        there_3P = voxels_3P + way * steps.T
        inside = ((there_3P >= 0) & (there_3P < limits)).all(0)
        values = view.lookup_XYZ[tuple(np.clip(there_3P, 0, limits - 1))]
        inside &= values >= 0
        values = np.maximum(values, 0)
        cosine = np.abs((here_P3 * along_V3[values]).sum(1))
        # a step that leaves the bundle ends in low FA, and that counts against it
        total += float((cosine * fa_V[values_P] * np.where(inside, fa_V[values], 0.0)).sum())
        weight += float(np.square(fa_V[values_P]).sum())
    return total / max(weight, 1e-9)
