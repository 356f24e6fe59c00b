"""What to look at first in a scan: words, where it is, and a picture there."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from PIL import Image

from dmri7t.reports import drawing
from dmri7t.reports.drawing import Tile, Window
from dmri7t.reports.maps import ScanMaps
from dmri7t.reports.orientation import OrientationCheck
from dmri7t.reports.pictures import high_end
from dmri7t.reports.records import ScanReport
from dmri7t.reports.scan_views import LETTERS, position_words
from dmri7t.reports.template import sentence
from dmri7t.reports.views import AXES, View, choose_slices, pixel_lookup, read_values
from dmri7t.signal.extent import CUT, cut_ends
from dmri7t.signal.grids import place_words

SCALE = 2.6
"""Pixels a mm of the pictures."""

UNLIKE = "Unlike the training data"
SMALL = "A small spot that is a little unlike the training data"


@attrs.frozen(eq=False)
class Alarm:
    """Something about a scan that is to be looked at.

    Parameters
    ----------
    title, text : str
    place_3 : ndarray, optional
        Scanner's coordinates, mm, where it is at a place.
    region_V : ndarray of bool, optional
        Voxels of the input's mask that it is about.
    loud : bool
        Whether it is an alarm; otherwise a note, which does not change what is said of the scan.
    """

    title: str
    text: str
    place_3: np.ndarray | None = None
    region_V: np.ndarray | None = None
    loud: bool = True


def find_alarms(
    scan: ScanReport, view: View, orientation: OrientationCheck | None = None
) -> tuple[Alarm, ...]:
    """Everything about a scan that is to be looked at first; empty for most scans.

    Parameters
    ----------
    scan : ScanReport
    view : View
        Of the input's mask.
    orientation : OrientationCheck, optional
    """
    alarms = [*_unlike(scan, view), *_cut(view)]
    said = _sentences_with_place(scan)
    alarms += [
        Alarm("Outside what the model was trained on", sentence(text))
        for text in scan.quality.outside_training
        if not text.startswith(said)
    ]
    if orientation and orientation.suspicious:
        alarms.append(
            Alarm(
                "The gradient table may not fit the image",
                f"Fibre directions agree with their neighbours by {orientation.as_given:.3f}, but "
                f"by {orientation.other:.3f} with {orientation.change}. Look at the sticks under "
                "Fibre directions; if they cross the bundles, correct the b-vectors and run again.",
            )
        )
    return tuple(alarms)


def _sentences_with_place(scan: ScanReport) -> tuple[str, ...]:
    """How the sentences of the record begin that are told here with their place."""
    shells = [s for s in scan.quality.shells if s.novelty and s.novelty.alarming]
    return (CUT, *(f"{s.name}: {s.novelty.volume_ml:.1f} ml of" for s in shells if s.novelty))


def _unlike(scan: ScanReport, view: View) -> Iterator[Alarm]:
    """An alarm for every large enough spot; without any, a note on the largest of the others."""
    translated = [shell for shell in scan.quality.shells if shell.translated]
    for shell, file in zip(translated, scan.before.novelty, strict=False):
        novelty = shell.novelty
        if file is None or novelty is None or not novelty.spots:
            continue
        region_V = read_values(file, view) > 1
        for spot in novelty.alarming or novelty.spots[:1]:
            place, loud = np.array(spot.place_mm), bool(novelty.alarming)
            x, y, z = view.voxel(place)
            likest = f" It looks most like {novelty.resembles}." if novelty.resembles else ""
            text = (
                f"{spot.volume_ml:.1f} ml around {place_words(spot.place_mm)} (voxel {x}, {y}, "
                f"{z} of the input), up to {spot.score:.2f} times the threshold, in {shell.name}."
                f"{likest} "
            )
            if loud:
                text += (
                    "A lesion, an artefact or unusual anatomy: do not trust the result there "
                    "before you have looked."
                )
            else:
                text += (
                    f"Spots below {novelty.alarm_ml:g} ml raise no alarm: scans of healthy people "
                    "hold some. A small lesion looks the same."
                )
            yield Alarm(UNLIKE if loud else SMALL, text, place, region_V, loud)


def _cut(view: View) -> Iterator[Alarm]:
    """An alarm for every side at which the image cuts the brain."""
    inside = view.lookup_XYZ >= 0
    for axis, end in cut_ends(inside):
        word = LETTERS[axis][1 if end == 0 else 0]
        face = np.take(inside, end, axis=axis)
        region_V = np.zeros(int(inside.sum()), bool)
        region_V[np.take(view.lookup_XYZ, end, axis=axis)[face]] = True
        at = np.insert(np.mean(np.nonzero(face), axis=1), axis, end % inside.shape[axis])
        place = view.axes_33 @ (view.origin_3 + view.sizes_3 * at)
        pixel_cm2 = float(np.prod(np.delete(view.sizes_3, axis))) / 100
        yield Alarm(
            f"The brain is cut at the {word}",
            f"The image ends at the {word} before the brain does: {face.sum() * pixel_cm2:.0f} cm² "
            f"of the mask lie on its border, around {place_words(place.tolist())}. What lies "
            "beyond was not measured; near the border, the result is less certain.",
            place,
            region_V,
        )


def alarm_picture(alarm: Alarm, maps: ScanMaps, view: View) -> Image.Image:
    """Three planes through the place of an alarm, over the input.

    Raises
    ------
    ValueError
        If it has no place.
    """
    if alarm.place_3 is None or alarm.region_V is None:
        raise ValueError("an alarm without a place has no picture")
    values = read_values(maps.signal.mean if maps.signal else maps.b0, view)
    window = Window(0.0, high_end(values))
    centre = np.linalg.solve(view.axes_33, alarm.place_3)
    tiles = []
    for plane, slices in choose_slices(view, view, centre, 4.0).items():
        lookup = pixel_lookup(view, slices, slices.before, SCALE)
        picture = drawing.paint(values, lookup, window)
        drawing.outline(picture, (lookup >= 0) & alarm.region_V[np.maximum(lookup, 0)])
        column, row = (slices.frame_22[:, 1] - centre[list(AXES[plane][:2])]) * SCALE
        drawing.cross(picture, row, column)
        tiles.append(Tile(picture, plane, position_words(slices, "before")))
    title = "3T input, mean diffusion-weighted image" if maps.signal else "3T input, b0"
    return drawing.sheet([tiles], title, window, least=0)
