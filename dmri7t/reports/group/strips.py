"""A strip of dots for every metric of a group, as SVG that stands in the page itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from markupsafe import Markup

WIDTH = 560
MARGIN = 16
ROW = 74
"""Height of a strip."""
TITLE = 20
"""What the name of a strip takes above it, where there are several."""
AXIS = 30
RADIUS = 4
SAME = 1e-4
"""Part of the values up to which their range is none: it would need ticks of many digits."""
LETTER = 6.2
"""Width of a letter of a label, about."""


@attrs.frozen
class Dot:
    """One scan: its value, name, link, and whether it stands out."""

    value: float
    name: str
    href: str
    odd: bool = False


@attrs.frozen
class Strip:
    """Like scans in one row."""

    title: str
    dots: tuple[Dot, ...]


def draw(strips: Sequence[Strip], label: str) -> Markup:
    """Draw strips below each other, on one axis.

    Parameters
    ----------
    strips : sequence of Strip
        With one dot each, or more. Titles are drawn only where there are several.
    label : str
        Read to who cannot see it.
    """
    values = [dot.value for strip in strips for dot in strip.dots]
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    scale = _Scale(low, high)
    titled = len(strips) > 1
    height = len(strips) * (ROW + TITLE * titled)
    parts = [_axis(ticks, scale, height)]
    for index, strip in enumerate(strips):
        top = index * (ROW + TITLE * titled)
        if titled:
            parts.append(
                Markup('<text class="strip" x="{}" y="{}">{}</text>').format(
                    MARGIN, top + 14, f"{strip.title}: {len(strip.dots)}"
                )
            )
        parts.append(_strip(strip.dots, scale, top + TITLE * titled + ROW / 2))
    return Markup('<svg viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        WIDTH, height + AXIS, label, Markup("").join(parts)
    )


@attrs.frozen
class _Scale:
    low: float
    high: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(float(MARGIN + RADIUS + part * (WIDTH - 2 * (MARGIN + RADIUS))), 1)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that span the values.

    Examples
    --------
    >>> _ticks(0.13, 0.52)
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    >>> _ticks(0, 0)  # no part of a brain is below zero
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> _ticks(7.0, 7.0)
    [6.0, 6.5, 7.0, 7.5, 8.0]
    """
    if high - low <= SAME * max(abs(low), abs(high)):
        pad = abs(low) / 7 or 1.0
        low, high = low - pad if low else 0.0, high + pad
    rough = (high - low) / (most - 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = np.floor(low / step + 1e-6), np.ceil(high / step - 1e-6)
    return [float(f"{n * step:.12g}") for n in np.arange(first, last + 1)]


def _axis(ticks: Sequence[float], scale: _Scale, height: float) -> Markup:
    lines = Markup("").join(
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="2" y2="{1}"/>').format(scale(t), height)
        for t in ticks
    )
    texts = Markup("").join(
        Markup('<text class="tick" x="{}" y="{}">{}</text>').format(
            scale(t), height + 18, f"{t:.6g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")
        )
        for t in ticks
    )
    return lines + texts


def _strip(dots: Sequence[Dot], scale: _Scale, middle: float) -> Markup:
    """A box of the quartiles with the median, and all dots."""
    parts = []
    if len(dots) > 3:
        low, median, high = (scale(v) for v in np.percentile([d.value for d in dots], (25, 50, 75)))
        parts.append(
            Markup('<rect class="box" x="{}" y="{}" width="{}" height="48"/>').format(
                low, middle - 24, round(high - low, 1)
            )
        )
        parts.append(
            Markup('<line class="median" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                median, middle - 24, middle + 24
            )
        )
    heights = _spread([scale(dot.value) for dot in dots])
    # those that stand out are drawn last, on top
    drawn = [(scale(d.value), middle + y, d) for d, y in zip(dots, heights, strict=True)]
    parts += [_dot(dot, x, y) for x, y, dot in sorted(drawn, key=lambda at: at[2].odd)]
    return Markup("").join([*parts, *_names(drawn)])


def _dot(dot: Dot, x: float, y: float) -> Markup:
    title = f"{dot.name}: {dot.value:.4g}{' (stands out)' if dot.odd else ''}"
    return Markup(
        '<a href="{}"><circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle></a>'
    ).format(dot.href, "dot odd" if dot.odd else "dot", x, round(y, 1), RADIUS + dot.odd, title)


def _spread(xs: Sequence[float], room: int = 28, looked_at: int = 30) -> list[float]:
    """Offsets from the middle that keep dots apart, as far as there is room.

    Examples
    --------
    >>> _spread([0.0, 100.0, 1.0])
    [0.0, 0.0, 8.0]
    """
    levels = sorted(range(-room, room + 1, 2), key=lambda level: (abs(level), -level))
    offsets = [0.0] * len(xs)
    placed: list[tuple[float, int]] = []
    for index in np.argsort(xs, kind="stable"):
        x = xs[index]
        near = [(x - other, at) for other, at in placed[-looked_at:] if x - other < 2 * RADIUS]
        gaps = {n: min((math.hypot(d, n - at) for d, at in near), default=99.0) for n in levels}
        free = (n for n in levels if gaps[n] >= 2 * RADIUS)
        level = next(free, max(levels, key=gaps.__getitem__))
        placed.append((x, level))
        offsets[index] = float(level)
    return offsets


def _names(dots: Sequence[tuple[float, float, Dot]]) -> list[Markup]:
    """Names beside dots that stand out, where they lie on no other name and no dot."""
    taken = [(x - RADIUS, x + RADIUS, y) for x, y, _ in dots]
    parts = []
    for x, y, dot in sorted((d for d in dots if d[2].odd), key=lambda d: d[0]):
        width = LETTER * len(dot.name)
        sides = (
            (" left" if left else "", edge, edge - left * width, edge + (1 - left) * width, y + off)
            for off in (0, -13, 13)
            for left, edge in ((0, x + 2 * RADIUS), (1, x - 2 * RADIUS))
        )
        for side, edge, start, end, level in sides:
            free = all(end < s or e < start or abs(level - at) > 11 for s, e, at in taken)
            if free and 0 <= start and end <= WIDTH:
                taken.append((start, end, level))
                parts.append(
                    Markup('<text class="name{}" x="{}" y="{}">{}</text>').format(
                        side, round(edge, 1), round(level + 4, 1), dot.name
                    )
                )
                break
    return parts
