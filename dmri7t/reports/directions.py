"""Pictures of principal directions: as colours, and as sticks where flips would be seen."""

from __future__ import annotations

import attrs
import numpy as np

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Tile, Window
from dmri7t.reports.maps import ScanMaps
from dmri7t.reports.scan_views import MapPictures, ScanViews, position_words
from dmri7t.reports.views import AXES, Slices, View, choose_slices, pixel_lookup, read_values, zoom

BEFORE, AFTER = "BEFORE · 3T input", "AFTER · 7T-like output"
"""What is written on the pictures of both sides."""

CLEAR_FA = 0.2
"""Where FA is lower, a principal direction means little."""

ZOOM_MM = 50.0
"""Side of the square in which directions are drawn."""

ZOOM_PIXELS = 540
"""The same in pixels."""


@attrs.frozen(eq=False)
class Directions:
    """Principal directions on one grid, voxels of the mask in C order.

    Parameters
    ----------
    view : View
    fa_V : ndarray (V,)
    direction_V3 : ndarray (V, 3)
        Unit vectors, scanner frame.
    """

    view: View
    fa_V: np.ndarray
    direction_V3: np.ndarray

    @classmethod
    def read(cls, maps: ScanMaps, view: View) -> Directions | None:
        """Read FA and directions; None where a scan has none."""
        if maps.fa is None or maps.direction is None:
            return None
        return cls(view, read_values(maps.fa, view), read_values(maps.direction, view))

    @property
    def colours_V3(self) -> np.ndarray:
        """Red, green, blue: how far a direction lies along each axis, as bright as FA."""
        colours = np.abs(self.direction_V3) * self.fa_V[:, None] * 255
        return colours.clip(0, 255).astype(np.uint8)


def direction_pictures(views: ScanViews, before: Directions, after: Directions) -> MapPictures:
    """Colour FA before and after, and the angle between principal directions."""
    columns = {
        "before": views.show(before.colours_V3, "before", BEFORE, None),
        "after": views.show(after.colours_V3, "after", AFTER, None),
    }
    angle = np.full(len(after.fa_V), np.nan, np.float32)
    for bridge in views.bridges:
        # directions have no sign and cannot be averaged: the nearest voxel is taken
        nearest = bridge.indices_8P[bridge.weights_8P.argmax(0), np.arange(len(bridge.voxels))]
        one_P3, other_P3 = before.direction_V3[nearest], after.direction_V3[bridge.voxels]
        cosine = np.abs((one_P3 * other_P3).sum(-1)).clip(0, 1)
        fa = np.minimum(before.fa_V[nearest], after.fa_V[bridge.voxels])
        clear = bridge.covered & (fa > CLEAR_FA)
        angle[bridge.voxels] = np.where(clear, np.degrees(np.arccos(cosine)), np.nan)
    columns["difference"] = views.show(
        angle, "after", "angle between the two", Window(0.0, 45.0, "inferno", "degrees")
    )
    return MapPictures(
        "colour-fa",
        "Colour FA",
        "In which direction water moves most easily, as a colour: red from left to right, green "
        "from front to back, blue up and down. The corpus callosum is red in its middle, the "
        "corticospinal tract blue, the cingulum green; if not, the b-vectors are wrong. The "
        f"difference is the angle between both directions where FA is above {CLEAR_FA:g} in both.",
        columns,
        {"difference": "Angle"},
    )


def stick_pictures(views: ScanViews, before: Directions, after: Directions) -> MapPictures:
    """Principal directions as sticks, where flipped gradients would be seen."""
    centre = callosal_centre(before)
    chosen = choose_slices(views.before, views.after, centre)
    slices = {plane: zoom(s, centre, ZOOM_MM) for plane, s in chosen.items()}
    columns = {}
    sides = (("before", BEFORE, before), ("after", AFTER, after))
    for side, title, directions in sides:
        tiles = [
            Tile(_stick_picture(directions, s, getattr(s, side)), plane, position_words(s, side))
            for plane, s in slices.items()
        ]
        columns[side] = drawing.sheet([tiles], title, None)
    return MapPictures(
        "directions",
        "Fibre directions",
        "Principal directions drawn over FA around the corpus callosum, as a check of the gradient "
        "table. In the axial and the coronal plane the red sticks of the corpus callosum run from "
        "left to right and bend along the bundle. Sticks that cross a bright bundle, mirrored in "
        "one plane, are a sign of flipped b-vectors.",
        columns,
    )


def callosal_centre(directions: Directions) -> np.ndarray:
    """Coordinate around which bundles cross the midline from left to right.

    The median position of clear left-right directions near the middle sagittal slice, in the
    upper two thirds of the brain; the middle of the mask where there are few.
    """
    view = directions.view
    voxels = np.stack(np.nonzero(view.lookup_XYZ >= 0))
    order = view.lookup_XYZ[tuple(voxels)]
    coordinates = view.origin_3[:, None] + view.sizes_3[:, None] * voxels
    middle = coordinates.mean(1)
    low, high = view.extent_32[2]
    lateral = np.abs(directions.direction_V3 @ view.axes_33[:, 0])[order]
    chosen = (
        (np.abs(coordinates[0] - middle[0]) < 6)
        & (coordinates[2] > low + (high - low) / 3)
        & (directions.fa_V[order] > 0.4)
        & (lateral > 0.8)
    )
    if np.count_nonzero(chosen) < 20:
        return middle
    return np.array([middle[0], *np.median(coordinates[1:, chosen], axis=1)])


def _stick_picture(directions: Directions, slices: Slices, index: int) -> np.ndarray:
    """Picture (rows, columns, 3) of one slice, whose index on the grid is given."""
    view, fa_V, direction_V3 = directions.view, directions.fa_V, directions.direction_V3
    scale = ZOOM_PIXELS / ZOOM_MM
    lookup = pixel_lookup(view, slices, index, scale)
    picture = drawing.paint(fa_V, lookup, Window(0.0, 2.0))
    across, up, through = AXES[slices.plane]
    sheet = np.take(view.lookup_XYZ, index, axis=through)
    first, second = np.nonzero(sheet >= 0)
    voxels = sheet[first, second]
    frame = slices.frame_22
    x = (frame[0, 1] - view.origin_3[across] - view.sizes_3[across] * first) * scale
    y = (frame[1, 1] - view.origin_3[up] - view.sizes_3[up] * second) * scale
    shown = (fa_V[voxels] > CLEAR_FA / 2) & (x > 0) & (y > 0)
    shown &= (x < picture.shape[1]) & (y < picture.shape[0])
    voxels, x, y = voxels[shown], x[shown], y[shown]
    half = 0.46 * min(view.sizes_3[across], view.sizes_3[up]) * scale
    along = direction_V3[voxels] @ view.axes_33
    dx, dy = -along[:, across] * half, -along[:, up] * half
    strength = (0.35 + fa_V[voxels][:, None]).clip(0, 1)
    bright = np.abs(direction_V3[voxels])
    # a little white, as pure blue can hardly be seen on black
    bright = 0.25 + 0.75 * bright / np.maximum(bright.max(1, keepdims=True), 1e-6)
    bright = bright * strength
    inks = [tuple(ink) for ink in (bright * 255).astype(int).tolist()]
    ends = np.stack([x - dx, y - dy, x + dx, y + dy], 1)
    return drawing.sticks(picture, ends, inks, width=max(2.0, half / 3))
