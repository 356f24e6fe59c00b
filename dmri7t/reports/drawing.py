"""Pictures out of slices: colours, marks, outlines, colour bars, sheets of slices.

Composed from arrays directly: a plotting library takes ten times as long for the same picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import attrs
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

WIDTH = 1400
"""Pixels across a picture: what the page shows it at on a common screen."""

BLACK = 255
"""The last of 256 colours: what lies outside the brain, or is no number."""

GAP = 6
"""Pixels between slices."""

QUALITY = 82
"""Of JPEG: a PNG of a noisy slice is four times larger, and takes five times as long."""

CONTOUR = (255, 196, 0)
"""Colour of outlines."""

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
    """Colours (256, 3) of a map as bytes; the last, :data:`BLACK`, is black."""
    from matplotlib import colormaps

    colours = colormaps[name](np.linspace(0, 1, BLACK))[:, :3] * 255
    return np.vstack([colours, np.zeros((1, 3))]).round().astype(np.uint8)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own typeface: it is there wherever the package is."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def levels(values: np.ndarray, window: Window) -> np.ndarray:
    """Levels of a palette as bytes; what is no number is :data:`BLACK`.

    Examples
    --------
    >>> levels(np.array([0.0, 1.0, 5.0, np.nan]), Window(0, 1)).tolist()
    [0, 254, 254, 255]
    """
    span = max(window.high - window.low, 1e-12)
    scaled = (values - np.float32(window.low)) * np.float32((BLACK - 1) / span)
    scaled = np.clip(scaled, 0, BLACK - 1) + np.float32(0.5)
    # what is no number fails every comparison
    return np.where(scaled > 0, scaled, BLACK).astype(np.uint8)


def paint(values: np.ndarray, lookup: np.ndarray, window: Window | None = None) -> np.ndarray:
    """Picture (rows, columns, 3) of values (V,), or of colours (V, 3) where there is no window.

    Black where the lookup is -1.
    """
    outside = lookup < 0
    if window is None:
        return np.where(outside[..., None], np.uint8(0), values[lookup])
    level = np.where(outside, np.uint8(BLACK), levels(values[lookup], window))
    picture = Image.fromarray(level)
    picture.putpalette(palette(window.colours).tobytes())
    return np.array(picture.convert("RGB"))


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


@attrs.frozen(eq=False)
class Tile:
    """A slice on a sheet.

    Parameters
    ----------
    picture : ndarray (rows, columns, 3) of bytes
    plane : str
    note : str
        Words for its position.
    """

    picture: np.ndarray
    plane: str
    note: str


def sheet(
    rows: Sequence[Sequence[Tile]], title: str, window: Window | None, least: int = WIDTH
) -> Image.Image:
    """Lay slices out in rows under a title and a colour bar.

    Parameters
    ----------
    rows : sequence of sequence of Tile
    title : str
    window : Window, optional
        For the colour bar; without it, the colours of directions are explained.
    least : int
        Width in pixels, where the slices take less.
    """
    top = 50
    widths = [sum(t.picture.shape[1] + GAP for t in row) - GAP for row in rows]
    heights = [max(t.picture.shape[0] for t in row) for row in rows]
    width = max(least, *(w + 2 * GAP for w in widths))
    canvas = Image.new("RGB", (width, top + sum(h + GAP for h in heights) + GAP))
    draw = ImageDraw.Draw(canvas)
    draw.text((14, top / 2), title, INK, font(25, bold=True), anchor="lm")
    if window is None:
        _draw_directions(draw, width, top / 2)
    else:
        _draw_bar(canvas, draw, window, top // 2 - 8)
    y = top
    for row, across, height in zip(rows, widths, heights, strict=True):
        # what is left of the width goes between the slices, so that all rows end alike
        space = GAP + (width - across) / (len(row) + 1)
        x = space - GAP
        for number, tile in enumerate(row):
            at = (round(x), y + (height - tile.picture.shape[0]) // 2)
            canvas.paste(Image.fromarray(tile.picture), at)
            _mark(draw, tile, at, letters=number == 0)
            x += tile.picture.shape[1] + space
        y += height + GAP
    return canvas


def _mark(draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], letters: bool) -> None:
    """Write a slice's position into its corner, and on the first of a row what lies where."""
    (x, y), (rows, columns) = at, tile.picture.shape[:2]
    draw.text((x + 4, y + 2), tile.note, FAINT, font(16), "la", stroke_width=2, stroke_fill=0)
    if not letters:
        return
    left, right, up, down = MARKS[tile.plane]
    for place, letter, anchor in (
        ((x + 2, y + rows / 2), left, "lm"),
        ((x + columns - 2, y + rows / 2), right, "rm"),
        ((x + columns / 2, y + 1), up, "ma"),
        ((x + columns / 2, y + rows), down, "md"),
    ):
        draw.text(place, letter, INK, font(19, bold=True), anchor, stroke_width=2, stroke_fill=0)


def _draw_bar(canvas: Image.Image, draw: ImageDraw.ImageDraw, window: Window, y: int) -> None:
    """Colour bar at the right end, its numbers beside it."""
    high, low = number(window.high), number(window.low)
    text, thick, length = font(19), 16, 280
    unit = f" {window.unit}" if window.unit else ""
    right = canvas.width - 16 - round(text.getlength(high + unit)) - 8
    left = right - length
    ramp = palette(window.colours)[np.linspace(0, BLACK - 1, length).astype(int)]
    bar = np.broadcast_to(ramp, (thick, length, 3))
    canvas.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, y))
    draw.rectangle((left - 1, y - 1, right, y + thick), outline=FAINT)
    draw.text((left - 8, y + thick / 2), low, INK, text, "rm")
    draw.text((right + 8, y + thick / 2), high + unit, INK, text, "lm")


def _draw_directions(draw: ImageDraw.ImageDraw, width: int, y: float) -> None:
    parts = (
        ("left–right", "#ff5a5a"),
        ("front–back", "#4fdc6a"),
        ("up–down", "#6f9bff"),
        ("brightness: FA", FAINT),
    )
    x = width - 16.0
    for text, ink in reversed(parts):
        draw.text((x, y), text, ink, font(20, bold=True), "rm")
        x -= font(20, bold=True).getlength(text) + 22


def outline(picture: np.ndarray, inside: np.ndarray, ink: tuple[int, int, int] = CONTOUR) -> None:
    """Draw the rim of a region (rows, columns) of bool into a picture of the same size."""
    inner = inside.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(inside, step, axis)
    picture[inside & ~inner] = ink


def cross(picture: np.ndarray, row: float, column: float, gap: int = 16, length: int = 34) -> None:
    """Draw a cross with an open middle into a picture (rows, columns, 3)."""
    r, c = round(row), round(column)
    rows, columns = picture.shape[:2]
    for step in (*range(-gap - length, -gap), *range(gap, gap + length)):
        for at in ((r + step, c), (r + step, c + 1), (r, c + step), (r + 1, c + step)):
            if 0 <= at[0] < rows and 0 <= at[1] < columns:
                picture[at] = CONTOUR


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


def encode(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """Bytes of a JPEG, colours as sharp as brightness where there are any."""
    stream = io.BytesIO()
    grey = picture.convert("L")
    if not ImageChops.difference(picture, grey.convert("RGB")).getbbox():
        picture = grey
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
