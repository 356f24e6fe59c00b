"""Pictures of a scan: each map before, after, and their difference, in three planes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dmri7t.reports import drawing
from dmri7t.reports.directions import Directions, direction_pictures, stick_pictures
from dmri7t.reports.drawing import Window
from dmri7t.reports.maps import MapFile
from dmri7t.reports.records import ScanReport
from dmri7t.reports.scan_views import MapPictures, ScanViews
from dmri7t.reports.views import read_values
from dmri7t.signal.orders import ORDERS

DEPARTURE_END = 5.0
"""Departures, in units of noise, from which on all are white."""

NOVELTY_END = 2.0
"""Distances from training, over the threshold, from which on all are white."""


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
) -> MapPictures:
    """Draw one map before, after, and after minus before.

    A map that is zero everywhere before was not measured: it is left out, with the difference.
    """
    before, after = read_values(files[0], views.before), read_values(files[1], views.after)
    measured = bool(before.any())
    sides = (before, after) if measured else (after,)
    window = window or Window(0.0, high_end(*sides))
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
    for name, *rish in zip(names, before.rish, after.rish, strict=False):
        yield from _rish_pictures(views, rish[0], rish[1], name, len(names) > 1)
    if before.fa and after.fa:
        yield compare(
            views,
            (before.fa, after.fa),
            "fa",
            "Fractional anisotropy",
            "From a diffusion tensor fitted to the signal before and after.",
            Window(0.0, 1.0),
        )
    native, generated = (
        Directions.read(maps, view) for maps, view in ((before, views.before), (after, views.after))
    )
    if native and generated:
        yield direction_pictures(views, native, generated)
        yield stick_pictures(views, native, generated)
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
    several: bool,
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
            f"R{order}, {shell}" if several else f"R{order}",
            f"Spherical harmonics of order {order} of S/S0 at {shell}: {meanings[order]}. "
            "The input is shown as measured, its noise included.",
        )


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
