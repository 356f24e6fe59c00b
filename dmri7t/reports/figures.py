"""Figures of a scan: each map before, after, and their difference, in three planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Window
from dmri7t.reports.records import MapFile, ScanMaps, ScanReport
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


@dataclass(frozen=True)
class Figure:
    """Pictures of one map.

    Parameters
    ----------
    name : str
        Of the files: ``<name>_<column>.png``.
    title, caption : str
    columns : dict
        Picture by column: ``before``, ``after``, ``difference``, or others.
    kind : {"compare", "row", "beside"}
        Before and after, to be laid over each other; pictures in a row; or beside the caption.
    """

    name: str
    title: str
    caption: str
    columns: dict[str, Image.Image] = field(default_factory=dict)
    kind: str = "compare"


class Stage:
    """Everything that the figures of one scan share: views, slices, interpolation.

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
        """Where each plane lies."""
        return {
            plane: f"{plane} {_place(plane, getattr(s, f'position_{side}'))}"
            for plane, s in (slices or self.slices).items()
        }

    def show(self, values: np.ndarray, side: str, title: str, window: Window | None) -> Image.Image:
        """Draw values (V,) of one side; or colours (V, 3), where there is no window."""
        lookups = self.lookups[side].items()
        pictures = {plane: drawing.paint(values, lookup, window) for plane, lookup in lookups}
        return drawing.column(pictures, self.notes(side), title, window)

    def difference(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """After minus before on the grid after, in the slices that are shown; else not a number."""
        made = np.full(len(after), np.nan, np.float32)
        for bridge in self.bridges.values():
            seen = np.where(bridge.covered, after[bridge.voxels] - bridge(before), np.nan)
            made[bridge.voxels] = seen
        return made


def _place(plane: str, position: float) -> str:
    positive, negative = DIRECTION_LETTERS[AXES[plane][2]]
    return f"{positive if position >= 0 else negative} {abs(position):.1f} mm"


def high_end(*sides: np.ndarray, percentile: float = 99.5) -> float:
    """Upper end of a window that fits all sides, from a sample of their voxels."""
    sampled = [side[:: max(1, len(side) // 50_000)] for side in sides]
    return drawing.round_up(max(float(np.percentile(s, percentile)) for s in sampled))


def compare(
    stage: Stage,
    files: tuple[MapFile, MapFile],
    name: str,
    title: str,
    caption: str,
    window: Window | None = None,
    unit: str = "",
) -> Figure:
    """Draw one map before, after, and after minus before.

    A map that is zero everywhere before was not measured: it is left out, with the difference.
    """
    before, after = read_values(files[0], stage.before), read_values(files[1], stage.after)
    measured = bool(before.any())
    sides = (before, after) if measured else (after,)
    window = window or Window(0.0, high_end(*sides), unit=unit)
    columns = {}
    if measured:
        columns["before"] = stage.show(before, "before", "3T input", window)
    columns["after"] = stage.show(after, "after", "7T-like output", window)
    if measured:
        change = stage.difference(before, after)
        seen = np.abs(change[np.isfinite(change)])
        end = drawing.round_up(float(np.percentile(seen, 99))) if seen.any() else 1.0
        signed = Window(-end, end, "berlin", window.unit)
        columns["difference"] = stage.show(change, "after", "output − input", signed)
    else:
        caption += " The input has too few directions to measure it."
    return Figure(name, title, caption, columns)


def scan_figures(scan: ScanReport) -> Iterator[Figure]:
    """All figures of a scan, one after another, so that few pictures are in memory.

    Raises
    ------
    InputError
        If a map does not fit its mask, or the grids do not share their axes.
    """
    stage = Stage(scan.before, scan.after)
    before, after = scan.before, scan.after
    yield compare(
        stage,
        (before.b0, after.b0),
        "b0",
        "b0",
        "Mean of the volumes without diffusion weighting, in the scanner's units.",
    )
    shells = [shell for shell in scan.quality.shells if shell.translated]
    for place, shell in enumerate(shells):
        yield from _rish_figures(stage, scan, place, shell.name, len(shells) > 1)
    if before.fa and after.fa:
        yield compare(
            stage,
            (before.fa, after.fa),
            "fa",
            "Fractional anisotropy",
            "From a diffusion tensor fitted to the signal before and after.",
            Window(0.0, 1.0),
        )
        if before.direction and after.direction:
            yield direction_figure(stage, before, after)
            yield stick_figure(stage, before, after)
    for place, file in enumerate(before.novelty):
        if file is not None:
            yield novelty_figure(stage, file, shells[place].name if place < len(shells) else "")
    for place, rows in enumerate(before.departure):
        yield departure_figure(stage, rows, shells[place].name if place < len(shells) else "")
    for place, rows in enumerate(after.spread):
        shell = shells[place].name if place < len(shells) else ""
        yield spread_figure(stage, rows, shell, after.calibrated)


def _rish_figures(
    stage: Stage, scan: ScanReport, place: int, shell: str, several: bool
) -> Iterator[Figure]:
    meanings = {
        0: "energy of the mean signal over directions",
        2: "energy of the coarse angular pattern, high in coherent white matter",
        4: "energy of the fine angular pattern, where crossing fibres show, and where noise "
        "weighs most",
    }
    for row, order in enumerate(ORDERS):
        ending = f", {shell}" if several else ""
        yield compare(
            stage,
            (scan.before.rish[place][row], scan.after.rish[place][row]),
            f"{shell}_r{order}",
            f"R{order}{ending}",
            f"Spherical harmonics of order {order} of S/S0 at {shell}: {meanings[order]}. "
            "The input is shown as measured, its noise included.",
        )


def direction_figure(stage: Stage, before: ScanMaps, after: ScanMaps) -> Figure:
    """Colour FA before and after, and the angle between principal directions."""
    fa = [read_values(f, v) for f, v in ((before.fa, stage.before), (after.fa, stage.after))]
    directions = [
        read_values(f, v)
        for f, v in ((before.direction, stage.before), (after.direction, stage.after))
    ]
    columns = {}
    for side, title, f, d in zip(
        ("before", "after"), ("3T input", "7T-like output"), fa, directions, strict=True
    ):
        columns[side] = stage.show(_direction_colours(d, f), side, title, None)
    angle = np.full(len(fa[1]), np.nan, np.float32)
    for bridge in stage.bridges.values():
        # directions have no sign: they cannot be averaged, so the nearest voxel speaks
        nearest = bridge.places_8P[bridge.weights_8P.argmax(0), np.arange(len(bridge.voxels))]
        cosine = np.abs((directions[0][nearest] * directions[1][bridge.voxels]).sum(-1)).clip(0, 1)
        clear = bridge.covered & (np.minimum(fa[0][nearest], fa[1][bridge.voxels]) > CLEAR_FA)
        angle[bridge.voxels] = np.where(clear, np.degrees(np.arccos(cosine)), np.nan)
    columns["difference"] = stage.show(
        angle, "after", "angle between the two", Window(0.0, 45.0, "inferno", "degrees")
    )
    return Figure(
        "colour-fa",
        "Colour FA",
        "Principal direction of the tensor, in the scanner's frame. On the right, the angle "
        f"between both directions where FA is above {CLEAR_FA:g} in both.",
        columns,
    )


def _direction_colours(direction_V3: np.ndarray, fa_V: np.ndarray) -> np.ndarray:
    return (np.abs(direction_V3) * fa_V[:, None] * 255).clip(0, 255).astype(np.uint8)


CALIBRATED = (
    "Standard deviation of the error that the model expects: 1.645 of it to either side held the "
    "truth in 90 % of the voxels of simulated scans. It knows of noise, of detail and of where its "
    "own samples differ; lesions and other things that the simulation lacks it does not know."
)

UNCALIBRATED = (
    "Standard deviation over the samples of the generative model: where it is bright, the model's "
    "own answers differ. It does not tell about errors that all samples share."
)


def spread_figure(stage: Stage, rows: tuple[MapFile, ...], shell: str, calibrated: bool) -> Figure:
    """Standard deviation of the error of every order."""
    columns = {}
    for order, file in zip(ORDERS, rows, strict=False):
        values = read_values(file, stage.after)
        window = Window(0.0, high_end(values), "inferno")
        columns[f"r{order}"] = stage.show(values, "after", f"uncertainty of R{order}", window)
    return Figure(
        f"{shell}_uncertainty",
        f"Uncertainty, {shell}",
        CALIBRATED if calibrated else UNCALIBRATED,
        columns,
        kind="row",
    )


def departure_figure(stage: Stage, rows: tuple[MapFile, ...], shell: str) -> Figure:
    """Where the output departs from the input beyond its noise, for every order."""
    window = Window(0.0, DEPARTURE_END, "inferno", "× noise")
    columns = {}
    for order, file in zip(ORDERS, rows, strict=False):
        values = read_values(file, stage.before)
        columns[f"r{order}"] = stage.show(values, "before", f"departure of R{order}", window)
    return Figure(
        f"{shell}_departure",
        f"Departure from the input, {shell}",
        "The output, brought back to the input's grid, against the input: the difference of the "
        "coefficients of each order, smoothed, in units of what the input's own noise makes of "
        "it. About 1 where nothing but noise was taken out, less where noise was left in. Where "
        "it is bright, the model changed what was measured: contrast that it has learned, or an "
        "error.",
        columns,
        kind="row",
    )


def novelty_figure(stage: Stage, file: MapFile, shell: str) -> Figure:
    """Where the input is not like the training data."""
    window = Window(0.0, NOVELTY_END, "inferno", "× threshold")
    picture = stage.show(
        read_values(file, stage.before), "before", "distance from training", window
    )
    return Figure(
        f"{shell}_novelty",
        f"Distance from the training data, {shell}",
        "How unlike anything in the training data the input is, over what the worst place of 1 in "
        "100 simulated scans reaches. Above 1 the model has seen nothing like it: a lesion, an "
        "artefact, or a scan of another kind. Do not trust the result there. A place that stays "
        "dark may still hold something that the model does not know.",
        {"map": picture},
        kind="beside",
    )


def stick_figure(stage: Stage, before: ScanMaps, after: ScanMaps) -> Figure:
    """Principal directions as sticks, where flipped gradients would be seen."""
    columns, slices = {}, None
    for side, title, maps in (("before", "3T input", before), ("after", "7T-like output", after)):
        view = getattr(stage, side)
        fa, direction = read_values(maps.fa, view), read_values(maps.direction, view)
        if slices is None:
            centre = callosal_centre(view, fa, direction)
            chosen = choose_slices(stage.before, stage.after, centre)
            slices = {plane: zoom(s, centre, ZOOM_MM) for plane, s in chosen.items()}
        pictures = {p: _stick_picture(view, s, side, fa, direction) for p, s in slices.items()}
        columns[side] = drawing.column(pictures, stage.notes(side, slices), title, None)
    return Figure(
        "directions",
        "Directions of the fibres",
        "Principal directions in the scanner's frame, drawn over FA around the corpus callosum, "
        "for a check of the gradient table. In the coronal and the axial plane the red sticks of "
        "the corpus callosum run from left to right and bend up, and forwards and backwards, "
        "along the bundle. Sticks that cross the course of a bright bundle, mirrored in one "
        "plane, tell of flipped b-vectors.",
        columns,
        kind="beside",
    )


def callosal_centre(view: View, fa_V: np.ndarray, direction_V3: np.ndarray) -> np.ndarray:
    """Coordinate around which bundles cross the midline from left to right.

    The mean place of clear left-right directions near the middle sagittal slice, in the upper
    two thirds of the brain; the middle of the mask where there are few.
    """
    places = np.stack(np.nonzero(view.lookup_XYZ >= 0))
    order = view.lookup_XYZ[tuple(places)]
    coordinates = view.origin_3[:, None] + view.sizes_3[:, None] * places
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
    seen = (fa_V[voxels] > CLEAR_FA / 2) & (x > 0) & (y > 0)
    seen &= (x < picture.shape[1]) & (y < picture.shape[0])
    voxels, x, y = voxels[seen], x[seen], y[seen]
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


def rename(figure: Figure, prefix: str) -> Figure:
    """Put the name of the scan before that of a figure's files."""
    return replace(figure, name=f"{prefix}_{figure.name}")
