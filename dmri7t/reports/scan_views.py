"""Both grids of a scan, and pictures of what lies on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import attrs
import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Tile, Window
from dmri7t.reports.maps import ScanMaps
from dmri7t.reports.views import AXES, SPREAD, Bridge, Slices, View, pixel_lookup, spread_slices

DIRECTION_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))

LETTERS = ("right", "left"), ("front", "back"), ("top", "bottom")
"""Ends of the axes in words."""


@attrs.frozen
class MapPictures:
    """Pictures of one map.

    Parameters
    ----------
    name : str
        Of the map, for file names.
    title, caption : str
    columns : dict
        Picture by column: ``before``, ``after``, ``difference``, or others. All of one size, to
        be laid over each other.
    words : dict
        How a column is called, where it is not by its name.
    """

    name: str
    title: str
    caption: str
    columns: dict[str, Image.Image]
    words: dict[str, str] = attrs.field(factory=dict)


class ScanViews:
    """What all pictures of one scan share: both grids, slices, interpolation.

    Parameters
    ----------
    before, after : ScanMaps
    """

    def __init__(self, before: ScanMaps, after: ScanMaps) -> None:
        self.before, self.after = View.open(before.mask), View.open(after.mask)
        self.slices = spread_slices(self.before, self.after)
        self.scale = scale_of(self.slices)
        self.lookups = {
            "before": self._lookups(self.before, "before"),
            "after": self._lookups(self.after, "after"),
        }
        self.bridges = [Bridge.build(self.before, self.after, s) for s in self.slices]

    def _lookups(self, view: View, side: str) -> list[np.ndarray]:
        return [pixel_lookup(view, s, getattr(s, side), self.scale) for s in self.slices]

    def show(self, values: np.ndarray, side: str, title: str, window: Window | None) -> Image.Image:
        """Draw values (V,) of one side; or colours (V, 3), where there is no window."""
        pictures = [drawing.paint(values, lookup, window) for lookup in self.lookups[side]]
        return lay_out(pictures, self.slices, side, title, window)

    def difference(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """After minus before (V,) on the grid after, in the slices shown; NaN elsewhere."""
        difference = np.full(len(after), np.nan, np.float32)
        for bridge in self.bridges:
            change = after[bridge.voxels] - bridge(before)
            difference[bridge.voxels] = np.where(bridge.covered, change, np.nan)
        return difference


def scale_of(slices: Sequence[Slices]) -> float:
    """Pixels a mm at which the widest row of slices fills a picture."""
    widths = [
        sum(float(np.ptp(s.frame_22[0])) for s in row)
        for _, row in groupby(slices, lambda s: s.plane)
    ]
    return (drawing.WIDTH - drawing.GAP * max(map(len, SPREAD.values()))) / max(widths)


def lay_out(
    pictures: Sequence[np.ndarray],
    slices: Sequence[Slices],
    side: str,
    title: str,
    window: Window | None,
) -> Image.Image:
    """Sheet of pictures, a row a plane.

    Parameters
    ----------
    pictures : sequence of ndarray (rows, columns, 3)
    slices : sequence of Slices
        Of the same pictures, those of a plane one after the other.
    side : {"before", "after"}
        Whose positions are written on them.
    title : str
    window : Window, optional
    """
    tiles = [
        Tile(picture, s.plane, position_words(s, side))
        for picture, s in zip(pictures, slices, strict=True)
    ]
    rows = [list(row) for _, row in groupby(tiles, lambda tile: tile.plane)]
    return drawing.sheet(rows, title, window)


def position_words(slices: Slices, side: str) -> str:
    """Position of a slice, such as ``S 41 mm``."""
    position = getattr(slices, f"position_{side}")
    positive, negative = DIRECTION_LETTERS[AXES[slices.plane][2]]
    return f"{positive if position >= 0 else negative} {abs(position):.0f} mm"
