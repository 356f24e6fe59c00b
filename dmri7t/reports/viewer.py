"""The viewer of a scan: one HTML file with NiiVue and the main maps, before and after, in it.

A browser lets a page that was opened from a disk read no other file, so everything is inside.
Each map is a sprite, all slices of a volume side by side in one JPEG of 256 grey levels, and the
header of the NIfTI image that the browser makes of it: a fifth of what compressed NIfTI takes.
NiiVue (BSD 2-Clause) comes from nilearn, which carries it in its own package.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import nibabel
import numpy as np
from PIL import Image

from dmri7t.reports.directions import Directions
from dmri7t.reports.maps import MapFile
from dmri7t.reports.pictures import high_end
from dmri7t.reports.records import ScanReport
from dmri7t.reports.scan_views import ScanViews
from dmri7t.reports.template import render_template
from dmri7t.reports.views import View, read_values
from dmri7t.signal.orders import ORDERS

CARRIER, SCRIPT = "nilearn", "niivue.umd.js"
"""The package that brings NiiVue, and the name of its file there."""

QUALITY = 80
"""Of JPEG."""

TILE = 8
"""Slices of a sprite are padded to multiples of this, JPEG's blocks: none runs into another."""

RGB24 = 128
"""NIfTI's code for three bytes a voxel."""


@attrs.frozen
class Choice:
    """A map that can be chosen, before and after.

    Parameters
    ----------
    name : str
    before, after : MapFile
    high : float, optional
        Upper end of the window; None: from the output.
    factor : float
        Of the values, for their unit.
    """

    name: str
    before: MapFile
    after: MapFile
    high: float | None = None
    factor: float = 1.0


def find_niivue() -> Path | None:
    """NiiVue's script; None where the package that carries it is not installed."""
    try:
        files = metadata.files(CARRIER) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == SCRIPT:
            path = Path(str(file.locate()))
            return path if path.is_file() else None
    return None


@cache
def _packed_script() -> str:
    """NiiVue as a browser unpacks it: gzip in base64, a third of its size; empty without it."""
    path = find_niivue()
    if path is None:
        return ""
    return base64.b64encode(gzip.compress(path.read_bytes(), 6, mtime=0)).decode()


def render_viewer(scan: ScanReport, views: ScanViews) -> str:
    """HTML of a scan's viewer; empty where NiiVue is not installed.

    Raises
    ------
    InputError
        If a map does not fit its mask.
    """
    script = _packed_script()
    if not script:
        return ""
    maps = [_choice_record(choice, views) for choice in _choices(scan)]
    maps[1:1] = _colours(scan, views)
    # of what a script holds, only this could end it
    data = json.dumps(maps, separators=(",", ":")).replace("<", "\\u003c")
    masks = [_mask_sprite(view) for view in (views.before, views.after)]
    return render_template(
        "viewer.html.jinja", stem=scan.stem, script=script, data=data, masks=json.dumps(masks)
    )


def _choices(scan: ScanReport) -> Iterator[Choice]:
    before, after = scan.before, scan.after
    if before.fa and after.fa:
        yield Choice("FA", before.fa, after.fa, 0.9)
    if before.signal and after.signal:
        yield Choice("Mean DWI", before.signal.mean, after.signal.mean)
        yield Choice("One DWI volume", before.signal.volume, after.signal.volume)
    yield Choice("b0", before.b0, after.b0)
    if before.md and after.md:
        yield Choice("MD, 10⁻³ mm²/s", before.md, after.md, 2.5, 1e3)
    names = [shell.name for shell in scan.quality.shells if shell.translated]
    for name, *rish in zip(names, before.rish, after.rish, strict=False):
        for order, *files in zip(ORDERS, *rish, strict=True):
            word = f"R{order}, {name}" if len(names) > 1 else f"R{order}"
            yield Choice(word, files[0], files[1])


def _choice_record(choice: Choice, views: ScanViews) -> dict[str, Any]:
    """What the page holds of a map: its name, and both sides."""
    values = [
        read_values(file, view) * np.float32(choice.factor)
        for file, view in ((choice.before, views.before), (choice.after, views.after))
    ]
    high = choice.high or high_end(values[1])
    sides = [
        _side(np.clip(v * (255 / high), 0, 255).round().astype(np.uint8), view, high)
        for v, view in zip(values, (views.before, views.after), strict=True)
    ]
    return {"name": choice.name, "high": high, "sides": sides}


def _colours(scan: ScanReport, views: ScanViews) -> list[dict[str, Any]]:
    """Colour FA as a map of three bytes a voxel; nothing where there are no directions."""
    sides = []
    for maps, view in ((scan.before, views.before), (scan.after, views.after)):
        directions = Directions.read(maps, view)
        if directions is None:
            return []
        sides.append(_side(directions.colours_V3, view, 255.0))
    return [{"name": "Colour FA", "high": 255.0, "sides": sides}]


def _side(levels: np.ndarray, view: View, high: float) -> dict[str, Any]:
    """One side of a map: header and sprite, in base64, and the size of the volume.

    Parameters
    ----------
    levels : ndarray of uint8
        (V,), or (V, 3) for colours.
    view : View
    high : float
        What the level 255 stands for.
    """
    box = view.box
    shape = tuple(s.stop - s.start for s in box)
    volume = np.zeros((*view.mask_XYZ.shape, *levels.shape[1:]), np.uint8)
    volume[view.mask_XYZ] = levels
    sprite, columns = make_sprite(volume[box])
    affine = view.affine_44.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    if levels.ndim == 2:
        header["datatype"], header["bitpix"] = RGB24, 24
    else:
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(high / 255, 0)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    stream = io.BytesIO()
    Image.fromarray(sprite).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return {
        "shape": shape,
        "columns": columns,
        "colours": levels.ndim == 2,
        "header": base64.b64encode(header.binaryblock + bytes(4)).decode(),
        "sprite": base64.b64encode(stream.getvalue()).decode(),
    }


def _mask_sprite(view: View) -> str:
    """The mask as a sprite of two colours, in base64: JPEG leaves traces outside it."""
    sprite, _ = make_sprite(np.uint8(255) * view.mask_XYZ[view.box])
    stream = io.BytesIO()
    Image.fromarray(sprite).convert("1").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def make_sprite(volume: np.ndarray) -> tuple[np.ndarray, int]:
    """Lay the slices of a volume side by side.

    Parameters
    ----------
    volume : ndarray (X, Y, Z) or (X, Y, Z, 3) of uint8

    Returns
    -------
    sprite : ndarray (rows, columns) or (rows, columns, 3)
        A slice (X across, Y down) in each tile, from left to right and down.
    columns : int
        Tiles in a row.

    Examples
    --------
    >>> sprite, columns = make_sprite(np.arange(12, dtype=np.uint8).reshape(2, 3, 2))
    >>> columns, sprite.shape, sprite[8:11, :2].tolist()
    (1, (16, 8), [[1, 7], [3, 9], [5, 11]])
    """
    x, y, z = volume.shape[:3]
    width, height = -(-x // TILE) * TILE, -(-y // TILE) * TILE
    columns = max(1, round((z * height / width) ** 0.5))
    rows = -(-z // columns)
    tiles = np.zeros((rows * columns, height, width, *volume.shape[3:]), np.uint8)
    tiles[:z, :y, :x] = volume.swapaxes(0, 2)
    tiles = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, *volume.shape[3:]), columns
