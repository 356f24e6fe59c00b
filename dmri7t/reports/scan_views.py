"""Both grids of a scan, and pictures of what lies on them."""

from __future__ import annotations

import attrs
import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Window
from dmri7t.reports.maps import ScanMaps
from dmri7t.reports.views import AXES, Bridge, Slices, View, choose_slices, pixel_lookup

DIRECTION_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


@attrs.frozen
class MapPictures:
    """Pictures of one map.

    Parameters
    ----------
    name : str
        Of the map, for file names.
    title, caption : str
    columns : dict
        Picture by column: ``before``, ``after``, ``difference``, or others.
    layout : {"compare", "row", "beside"}
        Before and after, to be laid over each other; pictures in a row; or beside the caption.
    """

    name: str
    title: str
    caption: str
    columns: dict[str, Image.Image]
    layout: str = "compare"


class ScanViews:
    """What all pictures of one scan share: both grids, slices, interpolation.

    Parameters
    ----------
    before, after : ScanMaps
    """

    def __init__(self, before: ScanMaps, after: ScanMaps) -> None:
        self.before, self.after = View.open(before.mask), View.open(after.mask)
        self.slices = choose_slices(self.before, self.after)
        widest = max(np.ptp(s.frame_22[0]) for s in self.slices.values())
        self.scale = drawing.WIDTH / widest
        self.lookups = {
            "before": self.lookup(self.before, self.slices, "before"),
            "after": self.lookup(self.after, self.slices, "after"),
        }
        self.bridges = {
            plane: Bridge.build(self.before, self.after, s) for plane, s in self.slices.items()
        }

    def lookup(
        self, view: View, slices: dict[str, Slices], side: str, scale: float | None = None
    ) -> dict[str, np.ndarray]:
        """Lookup of every pixel, by plane."""
        return {
            plane: pixel_lookup(view, s, getattr(s, side), scale or self.scale)
            for plane, s in slices.items()
        }

    def notes(self, side: str, slices: dict[str, Slices] | None = None) -> dict[str, str]:
        """Words for the position of each plane."""
        return {
            plane: f"{plane} {_position(plane, getattr(s, f'position_{side}'))}"
            for plane, s in (slices or self.slices).items()
        }

    def show(self, values: np.ndarray, side: str, title: str, window: Window | None) -> Image.Image:
        """Draw values (V,) of one side; or colours (V, 3), where there is no window."""
        lookups = self.lookups[side].items()
        pictures = {plane: drawing.paint(values, lookup, window) for plane, lookup in lookups}
        return drawing.column(pictures, self.notes(side), title, window)

    def difference(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """After minus before (V,) on the grid after, in the slices shown; NaN elsewhere."""
        difference = np.full(len(after), np.nan, np.float32)
        for bridge in self.bridges.values():
            change = after[bridge.voxels] - bridge(before)
            difference[bridge.voxels] = np.where(bridge.covered, change, np.nan)
        return difference


def _position(plane: str, position: float) -> str:
    positive, negative = DIRECTION_LETTERS[AXES[plane][2]]
    return f"{positive if position >= 0 else negative} {abs(position):.1f} mm"
