"""Pictures out of slices: colours, marks, colour bars, columns of three planes.

Composed from arrays directly: a plotting library takes ten times as long for the same picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import attrs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 540
"""Pixels across a column: twice what the page shows it at on a common screen."""

GAP = 10
"""Pixels between planes."""

INK = (238, 241, 245)
FAINT = (170, 178, 188)

MARKS = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""What lies left, right, up and down in the radiological convention."""


@attrs.frozen
class Window:
    """Values from black to white, and how they are coloured.

    Parameters
    ----------
    low, high : float
    colours : str
        ``gray``, or the name of one of matplotlib's colour maps.
    unit : str
    """

    low: float
    high: float
    colours: str = "gray"
    unit: str = ""


@cache
def palette(name: str) -> np.ndarray:
    """256 colours (256, 3) of a map; the first of a map with a dark end is black."""
    from matplotlib import colormaps

    return (colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own typeface: it is there wherever the package is."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def colour(values: np.ndarray, window: Window) -> np.ndarray:
    """Colour values (...,) as (..., 3) bytes; what is no number is black.

    Examples
    --------
    >>> colour(np.array([0.0, 1.0, 5.0, np.nan]), Window(0, 1)).tolist()
    [[0, 0, 0], [255, 255, 255], [255, 255, 255], [0, 0, 0]]
    """
    span = max(window.high - window.low, 1e-12)
    level = np.nan_to_num((values - window.low) / span * 255).clip(0, 255).round().astype(np.uint8)
    return palette(window.colours)[level] * np.isfinite(values)[..., None].astype(np.uint8)


def paint(values: np.ndarray, lookup: np.ndarray, window: Window | None = None) -> np.ndarray:
    """Picture (rows, columns, 3) of values (V,), or of colours (V, 3) where there is no window.

    Black where the lookup is -1.
    """
    inside = lookup >= 0
    picked = values[lookup[inside]]
    picture = np.zeros((*lookup.shape, 3), np.uint8)
    picture[inside] = picked if window is None else colour(picked, window)
    return picture


def round_up(value: float) -> float:
    """The next number of two digits, so that a colour bar ends at one that can be read.

    Examples
    --------
    >>> round_up(0.01234), round_up(731.0), round_up(0.0)
    (0.013, 740.0, 1.0)
    """
    if not np.isfinite(value) or value <= 0:
        return 1.0
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.6g}")


def number(value: float) -> str:
    """Short text of a number, with a true minus sign.

    Examples
    --------
    >>> number(-0.25), number(41500.0), number(0.0)
    ('−0.25', '41500', '0')
    """
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def column(
    pictures: dict[str, np.ndarray],
    notes: dict[str, str],
    title: str,
    window: Window | None,
) -> Image.Image:
    """Stack three planes under a title, over a colour bar.

    Parameters
    ----------
    pictures : dict
        Picture (rows, columns, 3) of bytes by plane.
    notes : dict
        Words for the position of each plane.
    title : str
    window : Window, optional
        For the colour bar; without it, the colours of directions are explained.
    """
    top, bottom = 44, 74
    height = top + sum(p.shape[0] + GAP for p in pictures.values()) + bottom
    canvas = Image.new("RGB", (WIDTH, height))
    draw = ImageDraw.Draw(canvas)
    draw.text((WIDTH / 2, top / 2), title, INK, font(22, bold=True), anchor="mm")
    y = top
    for plane, picture in pictures.items():
        rows, columns = picture.shape[:2]
        canvas.paste(Image.fromarray(picture), ((WIDTH - columns) // 2, y))
        _mark(draw, plane, notes[plane], y, rows)
        y += rows + GAP
    if window is None:
        _draw_directions(draw, y + 8)
    else:
        _draw_bar(canvas, draw, window, y + 8)
    return canvas


def _mark(draw: ImageDraw.ImageDraw, plane: str, note: str, y: int, rows: int) -> None:
    left, right, up, down = MARKS[plane]
    middle = y + rows / 2
    for at, letter, anchor in (
        ((6, middle), left, "lm"),
        ((WIDTH - 6, middle), right, "rm"),
        ((WIDTH / 2, y), up, "ma"),
        ((WIDTH / 2, y + rows), down, "md"),
    ):
        draw.text(at, letter, INK, font(21, bold=True), anchor, stroke_width=2, stroke_fill=0)
    draw.text((6, y + 2), note, FAINT, font(18), "la", stroke_width=2, stroke_fill=0)


def _draw_bar(canvas: Image.Image, draw: ImageDraw.ImageDraw, window: Window, y: int) -> None:
    left, right, thick = 110, WIDTH - 110, 16
    ramp = np.linspace(window.low, window.high, right - left)
    bar = np.broadcast_to(colour(ramp, window), (thick, right - left, 3))
    canvas.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, y))
    draw.rectangle((left - 1, y - 1, right, y + thick), outline=FAINT)
    middle = (window.low + window.high) / 2
    for value, x in ((window.low, left), (middle, (left + right) / 2), (window.high, right)):
        draw.line((x, y + thick, x, y + thick + 4), FAINT)
        draw.text((x, y + thick + 7), number(value), INK, font(19), "ma")
    if window.unit:
        draw.text((right + 12, y + thick / 2), window.unit, FAINT, font(17), "lm")


def _draw_directions(draw: ImageDraw.ImageDraw, y: int) -> None:
    parts = (("left–right", "#ff5a5a"), ("front–back", "#4fdc6a"), ("up–down", "#6f9bff"))
    for i, (text, ink) in enumerate(parts):
        x = WIDTH * (2 * i + 1) / 6
        draw.text((x, y + 10), text, ink, font(20, bold=True), "mm")
    draw.text((WIDTH / 2, y + 38), "brightness: FA, 0 to 1", FAINT, font(17), "mm")


def sticks(
    background: np.ndarray, ends: np.ndarray, inks: Sequence[tuple[int, int, int]], width: float
) -> np.ndarray:
    """Draw short lines, smoothed, over a picture.

    Parameters
    ----------
    background : ndarray (rows, columns, 3)
    ends : ndarray (n, 4)
        x and y of both ends, pixels of the background.
    inks : sequence of colours
    width : float
        Pixels of the background.
    """
    fine = 2
    size = (background.shape[1] * fine, background.shape[0] * fine)
    canvas = Image.fromarray(background).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    thick = max(1, round(width * fine))
    for (x0, y0, x1, y1), ink in zip((ends * fine).tolist(), inks, strict=True):
        draw.line((x0, y0, x1, y1), fill=ink, width=thick)
    small = (background.shape[1], background.shape[0])
    return np.asarray(canvas.resize(small, Image.Resampling.BOX))


def encode(picture: Image.Image) -> bytes:
    """Bytes of a PNG; in 256 colours where the picture has no more."""
    stream = io.BytesIO()
    if picture.getcolors(256) is not None:
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()
