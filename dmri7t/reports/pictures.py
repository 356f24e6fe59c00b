"""Pictures of a scan: each map before, after, and their difference, in slices of three planes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.directions import (
    AFTER,
    BEFORE,
    Directions,
    direction_pictures,
    stick_pictures,
)
from dmri7t.reports.drawing import Window
from dmri7t.reports.maps import MapFile, ScanMaps
from dmri7t.reports.records import ScanReport
from dmri7t.reports.scan_views import MapPictures, ScanViews, lay_out, scale_of
from dmri7t.reports.views import SPREAD, View, pixel_lookup, read_values, spread_slices
from dmri7t.signal.orders import ORDERS

DEPARTURE_END = 5.0
"""Departures, in units of noise, from which on all are white."""

NOVELTY_END = 2.0
"""Distances from training, over the threshold, from which on all are white."""

THUMBNAIL = 240
"""Height of a thumbnail, pixels."""

HEAD_MM = 22.0
"""What is shown around the brain mask, mm, where it is checked."""


def high_end(values: np.ndarray, percentile: float = 99.5) -> float:
    """Upper end of a window, from a sample of the voxels."""
    sampled = values[:: max(1, len(values) // 50_000)]
    return drawing.round_up(float(np.percentile(sampled, percentile)))


def compare(
    views: ScanViews,
    files: tuple[MapFile, MapFile],
    name: str,
    title: str,
    caption: str,
    window: Window | None = None,
    factor: float = 1.0,
) -> MapPictures:
    """Draw one map before, after, and after minus before.

    A map that is zero everywhere before was not measured: it is left out, with the difference.

    Parameters
    ----------
    views : ScanViews
    files : pair of MapFile
        Before and after.
    name, title, caption : str
    window : Window, optional
        Of both sides. Default: from zero to what almost all of the output stays below; noise of
        the input would darken the output if it took part.
    factor : float
        Of the values, for their unit.
    """
    before, after = read_values(files[0], views.before), read_values(files[1], views.after)
    if factor != 1:
        before, after = factor * before, factor * after
    measured = bool(before.any())
    window = window or Window(0.0, high_end(after))
    columns = {}
    if measured:
        columns["before"] = views.show(before, "before", BEFORE, window)
    columns["after"] = views.show(after, "after", AFTER, window)
    if measured:
        change = views.difference(before, after)
        shown = np.abs(change[np.isfinite(change)])
        end = drawing.round_up(float(np.percentile(shown, 99))) if shown.any() else 1.0
        signed = Window(-end, end, "berlin", window.unit)
        columns["difference"] = views.show(change, "after", "DIFFERENCE · after − before", signed)
    else:
        caption += " The input has too few directions to measure it."
    return MapPictures(name, title, caption, columns)


def scan_pictures(scan: ScanReport, views: ScanViews) -> Iterator[MapPictures]:
    """All pictures of a scan, map after map, so that few are in memory.

    Parameters
    ----------
    scan : ScanReport
    views : ScanViews
        Of its maps.

    Raises
    ------
    InputError
        If a map does not fit its mask.
    """
    before, after = scan.before, scan.after
    yield from _tensor_pictures(views, before, after)
    yield from _signal_pictures(views, before, after)
    yield compare(
        views,
        (before.b0, after.b0),
        "b0",
        "b0",
        "Mean of the volumes without diffusion weighting, in the scanner's units.",
    )
    yield mask_picture(before)
    names = [shell.name for shell in scan.quality.shells if shell.translated]
    for name, *rish in zip(names, before.rish, after.rish, strict=False):
        yield from _rish_pictures(views, rish[0], rish[1], name, len(names) > 1)
    for name, rows in zip(names, after.spread, strict=False):
        if rows:
            yield spread_pictures(views, rows, name, after)
    for name, file in zip(names, after.cones, strict=False):
        if file is not None:
            yield cone_pictures(views, file, name)
    for name, rows in zip(names, before.departure, strict=False):
        yield departure_pictures(views, rows, name)
    for name, file in zip(names, before.novelty, strict=False):
        if file is not None:
            yield novelty_pictures(views, file, name)
    if scan.before.fa and (directions := _directions(views, before, after)):
        yield stick_pictures(views, *directions)


def _directions(
    views: ScanViews, before: ScanMaps, after: ScanMaps
) -> tuple[Directions, Directions] | None:
    native = Directions.read(before, views.before)
    generated = Directions.read(after, views.after)
    return (native, generated) if native and generated else None


def _tensor_pictures(views: ScanViews, before: ScanMaps, after: ScanMaps) -> Iterator[MapPictures]:
    if before.fa and after.fa:
        yield compare(
            views,
            (before.fa, after.fa),
            "fa",
            "FA",
            "Fractional anisotropy: how much more easily water moves along one direction than "
            "across it, from 0 (alike in all directions) to 1. High in white matter. Noise adds to "
            "it: grey matter and the ventricles should get darker and smoother, bundles sharper.",
            Window(0.0, 0.9),
        )
    if directions := _directions(views, before, after):
        yield direction_pictures(views, *directions)
    if before.md and after.md:
        yield compare(
            views,
            (before.md, after.md),
            "md",
            "MD",
            "Mean diffusivity: how far water moves on average over all directions. High in the "
            "ventricles, low in an acute stroke.",
            Window(0.0, 2.5, unit="10⁻³ mm²/s"),
            1e3,
        )


def _signal_pictures(views: ScanViews, before: ScanMaps, after: ScanMaps) -> Iterator[MapPictures]:
    if before.signal is None or after.signal is None:
        return
    bval = before.signal.bval
    n = len(before.signal.mean.row) if isinstance(before.signal.mean.row, tuple) else 1
    yield compare(
        views,
        (before.signal.mean, after.signal.mean),
        "mean-dwi",
        "Mean diffusion-weighted image",
        f"Mean of {n} volumes at b = {bval:.0f} s/mm², in the scanner's units.",
    )
    yield compare(
        views,
        (before.signal.volume, after.signal.volume),
        "one-dwi",
        "One diffusion-weighted volume",
        f"Volume {before.signal.chosen} of the scan (the first is 0), b = {bval:.0f} s/mm²: what a "
        "single direction looks like. Noise is seen best here.",
    )


def mask_picture(maps: ScanMaps) -> MapPictures:
    """The input's b0 with all of the head, and the outline of the brain mask."""
    head, brain = View.open(maps.mask, whole=True), View.open(maps.mask)
    values = read_values(maps.b0, head)
    inside = head.lookup_XYZ.ravel()[brain.lookup_XYZ.ravel() >= 0]
    window = Window(0.0, high_end(values[inside]))
    slices = spread_slices(brain, brain, HEAD_MM)
    scale = scale_of(slices)
    pictures = []
    for s in slices:
        picture = drawing.paint(values, pixel_lookup(head, s, s.before, scale), window)
        drawing.outline(picture, pixel_lookup(brain, s, s.before, scale) >= 0)
        pictures.append(picture)
    return MapPictures(
        "mask",
        "Brain mask",
        "Only what lies within the yellow line was worked on. It should follow the brain's surface "
        "and leave out skull, eyes and scalp.",
        {"map": lay_out(pictures, slices, "before", "b0 of the input, with the mask", window)},
    )


FIRST_RISH = (
    "The signal over directions is split into patterns, from coarse to fine (spherical harmonics "
    "of order 0, 2 and 4); R0, R2 and R4 are how strong each is. This is what the model works on. "
)

RISH_MEANINGS = {
    0: "R0 is the strength of the mean over all directions: where it is low, water moves far.",
    2: "R2 is the strength of the coarse pattern: high where fibres run alike, in white matter.",
    4: "R4 is the strength of the fine pattern, where crossing fibres show, and where noise weighs "
    "most: what is left of it in the input may be far above the window.",
}


def _rish_pictures(
    views: ScanViews,
    before: tuple[MapFile, ...],
    after: tuple[MapFile, ...],
    shell: str,
    several: bool,
) -> Iterator[MapPictures]:
    for order, *files in zip(ORDERS, before, after, strict=True):
        yield compare(
            views,
            (files[0], files[1]),
            f"{shell}_r{order}",
            f"R{order}, {shell}" if several else f"R{order}",
            ("" if order else FIRST_RISH)
            + RISH_MEANINGS[order]
            + " What noise adds on average was taken off the input; both sides have the window of "
            "the output.",
        )


CALIBRATED = (
    "How far the result may be off: one standard deviation. In simulated scans the truth lay "
    "within 1.645 of it in 90 % of the voxels. It covers noise and detail, but no lesions and "
    "whatever else the simulation lacks."
)

UNCALIBRATED = (
    "Standard deviation over the samples of the generative model: where it is bright, the samples "
    "differ. It does not show errors that all samples share."
)


def spread_pictures(
    views: ScanViews, rows: tuple[MapFile, ...], shell: str, after: ScanMaps
) -> MapPictures:
    """Standard deviation of the error of FA, where it is known, and of every order."""
    files = {f"r{order}": file for order, file in zip(ORDERS, rows, strict=False)}
    if after.fa_spread:
        files = {"fa": after.fa_spread, **files}
    columns = {}
    for name, file in files.items():
        values = read_values(file, views.after)
        window = Window(0.0, high_end(values), "inferno")
        title = f"UNCERTAINTY of {name.upper()}"
        columns[name] = views.show(values, "after", title, window)
    return MapPictures(
        f"{shell}_uncertainty",
        f"Uncertainty, {shell}",
        CALIBRATED if after.calibrated else UNCALIBRATED,
        columns,
        {name: name.upper() for name in columns},
    )


def cone_pictures(views: ScanViews, file: MapFile, shell: str) -> MapPictures:
    """How sure principal directions are."""
    values = read_values(file, views.after)
    title = "CONE of the principal direction"
    return MapPictures(
        f"{shell}_cone",
        f"Uncertainty of directions, {shell}",
        "Half the opening of the cone about a voxel's principal direction in which the true one "
        "lies, in 95 of 100 voxels of simulated scans. Narrow (dark) where one fibre is clear; "
        "wide at crossings, in grey matter and in fluid, where the direction means little.",
        {"cone": views.show(values, "after", title, Window(0.0, 90.0, "inferno", "degrees"))},
    )


def departure_pictures(views: ScanViews, rows: tuple[MapFile, ...], shell: str) -> MapPictures:
    """Where the output departs from the input beyond its noise, for every order."""
    window = Window(0.0, DEPARTURE_END, "inferno", "× noise")
    columns = {}
    for order, file in zip(ORDERS, rows, strict=False):
        values = read_values(file, views.before)
        columns[f"r{order}"] = views.show(values, "before", f"DEPARTURE of R{order}", window)
    return MapPictures(
        f"{shell}_departure",
        f"Departure from the input, {shell}",
        "Where the result says something else than was measured. The output was brought back to "
        "the input's grid; shown is the difference of each order, smoothed, in units of what the "
        "input's own noise makes of it. About 1 where nothing but noise was removed. Where it is "
        "bright, the model changed what was measured: contrast that it learned, or an error.",
        columns,
        {name: name.upper() for name in columns},
    )


def novelty_pictures(views: ScanViews, file: MapFile, shell: str) -> MapPictures:
    """Where the input is not like the training data."""
    window = Window(0.0, NOVELTY_END, "inferno", "× threshold")
    values = read_values(file, views.before)
    title = "DISTANCE from the training data"
    return MapPictures(
        f"{shell}_novelty",
        f"Distance from the training data, {shell}",
        "How unlike anything in the training data the input is, over what 1 in 100 simulated scans "
        "exceeds at its worst voxel. Above 1, the training data held nothing like it: a lesion, an "
        "artefact, or a scan of another kind. Do not trust the result there. Dark voxels may still "
        "hold something that the model does not know.",
        {"map": views.show(values, "before", title, window)},
    )


def thumbnails(scan: ScanReport, views: ScanViews) -> dict[str, Image.Image]:
    """FA in an axial slice through the middle, before and after; empty where there is none."""
    if scan.before.fa is None or scan.after.fa is None:
        return {}
    at = [s.plane for s in views.slices].index("axial") + len(SPREAD["axial"]) // 2
    pictures = {}
    for side, file, view in (
        ("before", scan.before.fa, views.before),
        ("after", scan.after.fa, views.after),
    ):
        slices = views.slices[at]
        scale = THUMBNAIL / float(np.ptp(slices.frame_22[1]))
        lookup = pixel_lookup(view, slices, getattr(slices, side), scale)
        picture = drawing.paint(read_values(file, view), lookup, Window(0.0, 0.9))
        pictures[side] = Image.fromarray(picture)
    return pictures
