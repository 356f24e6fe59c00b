"""Pictures of a scan: each map before, after, and their difference, in three planes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Window
from dmri7t.reports.maps import MapFile, ScanMaps
from dmri7t.reports.records import ScanReport
from dmri7t.reports.views import (
    AXES,
    Bridge,
    Slices,
    View,
    choose_slices,
    pixel_lookup,
    read_values,
    zoom,
)
from dmri7t.signal.orders import ORDERS

CLEAR_FA = 0.2
"""Where FA is lower, a principal direction means little."""

DEPARTURE_END = 5.0
"""Departures, in units of noise, from which on all are white."""

NOVELTY_END = 2.0
"""Distances from training, over the threshold, from which on all are white."""

ZOOM_MM = 50.0
"""Side of the square in which directions are drawn."""

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


def high_end(*sides: np.ndarray, percentile: float = 99.5) -> float:
    """Upper end of a window that fits all sides, from a sample of their voxels."""
    sampled = [side[:: max(1, len(side) // 50_000)] for side in sides]
    return drawing.round_up(max(float(np.percentile(s, percentile)) for s in sampled))


def compare(
    views: ScanViews,
    files: tuple[MapFile, MapFile],
    name: str,
    title: str,
    caption: str,
    window: Window | None = None,
    unit: str = "",
) -> MapPictures:
    """Draw one map before, after, and after minus before.

    A map that is zero everywhere before was not measured: it is left out, with the difference.
    """
    before, after = read_values(files[0], views.before), read_values(files[1], views.after)
    measured = bool(before.any())
    sides = (before, after) if measured else (after,)
    window = window or Window(0.0, high_end(*sides), unit=unit)
    columns = {}
    if measured:
        columns["before"] = views.show(before, "before", "3T input", window)
    columns["after"] = views.show(after, "after", "7T-like output", window)
    if measured:
        change = views.difference(before, after)
        shown = np.abs(change[np.isfinite(change)])
        end = drawing.round_up(float(np.percentile(shown, 99))) if shown.any() else 1.0
        signed = Window(-end, end, "berlin", window.unit)
        columns["difference"] = views.show(change, "after", "output − input", signed)
    else:
        caption += " The input has too few directions to measure it."
    return MapPictures(name, title, caption, columns)


def scan_pictures(scan: ScanReport) -> Iterator[MapPictures]:
    """All pictures of a scan, map after map, so that few are in memory.

    Raises
    ------
    InputError
        If a map does not fit its mask, or the grids do not share their axes.
    """
    views = ScanViews(scan.before, scan.after)
    before, after = scan.before, scan.after
    yield compare(
        views,
        (before.b0, after.b0),
        "b0",
        "b0",
        "Mean of the volumes without diffusion weighting, in the scanner's units.",
    )
    names = [shell.name for shell in scan.quality.shells if shell.translated]
    for name, *sides in zip(names, before.rish, after.rish, strict=False):
        yield from _rish_pictures(views, *sides, name, f", {name}" if len(names) > 1 else "")
    if before.fa and after.fa:
        yield compare(
            views,
            (before.fa, after.fa),
            "fa",
            "Fractional anisotropy",
            "From a diffusion tensor fitted to the signal before and after.",
            Window(0.0, 1.0),
        )
        if before.direction and after.direction:
            yield direction_pictures(views, before, after)
            yield stick_pictures(views, before, after)
    for name, file in zip(names, before.novelty, strict=False):
        if file is not None:
            yield novelty_pictures(views, file, name)
    for name, rows in zip(names, before.departure, strict=False):
        yield departure_pictures(views, rows, name)
    for name, rows in zip(names, after.spread, strict=False):
        if rows:
            yield spread_pictures(views, rows, name, after.calibrated)


def _rish_pictures(
    views: ScanViews,
    before: tuple[MapFile, ...],
    after: tuple[MapFile, ...],
    shell: str,
    ending: str,
) -> Iterator[MapPictures]:
    meanings = {
        0: "energy of the mean signal over directions",
        2: "energy of the coarse angular pattern, high in coherent white matter",
        4: "energy of the fine angular pattern, where crossing fibres show, and where noise "
        "weighs most",
    }
    for order, *files in zip(ORDERS, before, after, strict=True):
        yield compare(
            views,
            (files[0], files[1]),
            f"{shell}_r{order}",
            f"R{order}{ending}",
            f"Spherical harmonics of order {order} of S/S0 at {shell}: {meanings[order]}. "
            "The input is shown as measured, its noise included.",
        )


def direction_pictures(views: ScanViews, before: ScanMaps, after: ScanMaps) -> MapPictures:
    """Colour FA before and after, and the angle between principal directions."""
    fa = [read_values(f, v) for f, v in ((before.fa, views.before), (after.fa, views.after))]
    directions = [
        read_values(f, v)
        for f, v in ((before.direction, views.before), (after.direction, views.after))
    ]
    columns = {}
    for side, title, f, d in zip(
        ("before", "after"), ("3T input", "7T-like output"), fa, directions, strict=True
    ):
        columns[side] = views.show(_direction_colours(d, f), side, title, None)
    angle = np.full(len(fa[1]), np.nan, np.float32)
    for bridge in views.bridges.values():
        # directions have no sign and cannot be averaged: the nearest voxel is taken
        nearest = bridge.indices_8P[bridge.weights_8P.argmax(0), np.arange(len(bridge.voxels))]
        cosine = np.abs((directions[0][nearest] * directions[1][bridge.voxels]).sum(-1)).clip(0, 1)
        clear = bridge.covered & (np.minimum(fa[0][nearest], fa[1][bridge.voxels]) > CLEAR_FA)
        angle[bridge.voxels] = np.where(clear, np.degrees(np.arccos(cosine)), np.nan)
    columns["difference"] = views.show(
        angle, "after", "angle between the two", Window(0.0, 45.0, "inferno", "degrees")
    )
    return MapPictures(
        "colour-fa",
        "Colour FA",
        "Principal direction of the tensor, in the scanner's frame. On the right, the angle "
        f"between both directions where FA is above {CLEAR_FA:g} in both.",
        columns,
    )


def _direction_colours(direction_V3: np.ndarray, fa_V: np.ndarray) -> np.ndarray:
    return (np.abs(direction_V3) * fa_V[:, None] * 255).clip(0, 255).astype(np.uint8)


CALIBRATED = (
    "Standard deviation of the error that the model expects: in simulated scans, the truth lay "
    "within 1.645 of it in 90 % of the voxels. It covers noise, detail and the differences between "
    "the model's own samples, but not lesions and whatever else the simulation lacks."
)

UNCALIBRATED = (
    "Standard deviation over the samples of the generative model: where it is bright, the samples "
    "differ. It does not show errors that all samples share."
)


def spread_pictures(
    views: ScanViews, rows: tuple[MapFile, ...], shell: str, calibrated: bool
) -> MapPictures:
    """Standard deviation of the error of every order."""
    columns = {}
    for order, file in zip(ORDERS, rows, strict=False):
        values = read_values(file, views.after)
        window = Window(0.0, high_end(values), "inferno")
        columns[f"r{order}"] = views.show(values, "after", f"uncertainty of R{order}", window)
    return MapPictures(
        f"{shell}_uncertainty",
        f"Uncertainty, {shell}",
        CALIBRATED if calibrated else UNCALIBRATED,
        columns,
        layout="row",
    )


def departure_pictures(views: ScanViews, rows: tuple[MapFile, ...], shell: str) -> MapPictures:
    """Where the output departs from the input beyond its noise, for every order."""
    window = Window(0.0, DEPARTURE_END, "inferno", "× noise")
    columns = {}
    for order, file in zip(ORDERS, rows, strict=False):
        values = read_values(file, views.before)
        columns[f"r{order}"] = views.show(values, "before", f"departure of R{order}", window)
    return MapPictures(
        f"{shell}_departure",
        f"Departure from the input, {shell}",
        "The output, resampled to the input's grid, against the input: the difference of the "
        "coefficients of each order, smoothed, in units of what the input's own noise makes of "
        "it. About 1 where nothing but noise was removed, less where noise remained. Where it is "
        "bright, the model changed what was measured: contrast that it learned, or an error.",
        columns,
        layout="row",
    )


def novelty_pictures(views: ScanViews, file: MapFile, shell: str) -> MapPictures:
    """Where the input is not like the training data."""
    window = Window(0.0, NOVELTY_END, "inferno", "× threshold")
    picture = views.show(
        read_values(file, views.before), "before", "distance from training", window
    )
    return MapPictures(
        f"{shell}_novelty",
        f"Distance from the training data, {shell}",
        "How unlike anything in the training data the input is, relative to what 1 in 100 "
        "simulated scans exceeds at its worst voxel. Above 1, the training data held nothing like "
        "it: a lesion, an artefact, or a scan of another kind. Do not trust the result there. Dark "
        "voxels may still hold something that the model does not know.",
        {"map": picture},
        layout="beside",
    )


def stick_pictures(views: ScanViews, before: ScanMaps, after: ScanMaps) -> MapPictures:
    """Principal directions as sticks, where flipped gradients would be seen."""
    columns, slices = {}, None
    for side, title, maps in (("before", "3T input", before), ("after", "7T-like output", after)):
        view = getattr(views, side)
        fa, direction = read_values(maps.fa, view), read_values(maps.direction, view)
        if slices is None:
            centre = callosal_centre(view, fa, direction)
            chosen = choose_slices(views.before, views.after, centre)
            slices = {plane: zoom(s, centre, ZOOM_MM) for plane, s in chosen.items()}
        pictures = {p: _stick_picture(view, s, side, fa, direction) for p, s in slices.items()}
        columns[side] = drawing.column(pictures, views.notes(side, slices), title, None)
    return MapPictures(
        "directions",
        "Fibre directions",
        "Principal directions in the scanner's frame, drawn over FA around the corpus callosum, "
        "as a check of the gradient table. In the coronal and the axial plane the red sticks of "
        "the corpus callosum run from left to right and bend up, and forwards and backwards, "
        "along the bundle. Sticks that cross a bright bundle, mirrored in one plane, are a sign "
        "of flipped b-vectors.",
        columns,
        layout="beside",
    )


def callosal_centre(view: View, fa_V: np.ndarray, direction_V3: np.ndarray) -> np.ndarray:
    """Coordinate around which bundles cross the midline from left to right.

    The median position of clear left-right directions near the middle sagittal slice, in the
    upper two thirds of the brain; the middle of the mask where there are few.
    """
    voxels = np.stack(np.nonzero(view.lookup_XYZ >= 0))
    order = view.lookup_XYZ[tuple(voxels)]
    coordinates = view.origin_3[:, None] + view.sizes_3[:, None] * voxels
    middle = coordinates.mean(1)
    low, high = view.extent_32[2]
    lateral = np.abs(direction_V3 @ view.axes_33[:, 0])[order]
    chosen = (
        (np.abs(coordinates[0] - middle[0]) < 6)
        & (coordinates[2] > low + (high - low) / 3)
        & (fa_V[order] > 0.4)
        & (lateral > 0.8)
    )
    if np.count_nonzero(chosen) < 20:
        return middle
    return np.array([middle[0], *np.median(coordinates[1:, chosen], axis=1)])


def _stick_picture(
    view: View, slices: Slices, side: str, fa_V: np.ndarray, direction_V3: np.ndarray
) -> np.ndarray:
    scale = drawing.WIDTH / ZOOM_MM
    index = getattr(slices, side)
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
