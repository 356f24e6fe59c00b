"""How alike two scans of one head come out, and whether what differs in the head is still seen.

A method that answers the same everywhere repeats perfectly. So what is left of the differences
between voxels is measured beside the noise: noise of two scans is independent, and their
covariance over voxels has none of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import pandas as pd
import torch

INTERPOLATION, MPPCA = "interpolation", "mppca"
"""Rows that others are held against."""

MAPS = ("FA", "R2")
"""What repeats are measured of."""

COLUMNS = ("over interpolation", "over mppca", "between", "icc", "median")
"""Of the summary: the variance within pairs over that of two rows, what is kept between voxels,
the intraclass correlation, and the median."""


@attrs.frozen
class Repeatability:
    """Two maps of one head.

    Parameters
    ----------
    within : float
        Variance within pairs: half the mean squared difference.
    between : float
        Variance between voxels without the noise: covariance of the two maps.
    icc : float
        Intraclass correlation: between over between and within.
    median : float
        Of both maps.
    """

    within: float
    between: float
    icc: float
    median: float


def repeatability(first_V: torch.Tensor, second_V: torch.Tensor) -> Repeatability:
    """Compare two maps (V,) of one head.

    Examples
    --------
    >>> repeatability(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
    Repeatability(within=0.333..., between=1.333..., icc=0.8, median=2.0)
    """
    first, second = first_V.double(), second_V.double()
    within = float((first - second).square().mean() / 2)
    between = float(((first - first.mean()) * (second - second.mean())).mean())
    total = between + within
    icc = between / total if total > 0 else float("nan")
    return Repeatability(within, between, icc, float(torch.cat([first, second]).median()))


def summarize_repeats(rows: pd.DataFrame, over: str) -> pd.DataFrame:
    """Mean over pairs, by method and map.

    Parameters
    ----------
    rows : DataFrame
        subject, method, map, and the fields of :class:`Repeatability`; a subject may have several
        pairs, which a column ``pair`` then tells apart.
    over : str
        Method over whose variance between voxels that of the others is given.

    Returns
    -------
    DataFrame
        method, map, n (pairs) and :data:`COLUMNS`: geometric means of ratios, means of the others.
    """
    keys = [name for name in ("subject", "pair") if name in rows]
    by = {
        name: group.set_index([*keys, "map"]) for name, group in rows.groupby("method", sort=False)
    }

    def ratio(mine: pd.DataFrame, other: str, column: str) -> pd.Series:
        theirs = by[other][column] if other in by else pd.Series(np.nan, mine.index)
        return (mine[column] / theirs).clip(lower=1e-12).map(math.log)

    out = []
    for method, mine in by.items():
        columns = {
            "over interpolation": ratio(mine, INTERPOLATION, "within"),
            "over mppca": ratio(mine, MPPCA, "within"),
            "between": ratio(mine, over, "between"),
        }
        means = pd.DataFrame(columns).groupby("map", sort=False).mean().map(math.exp)
        plain = mine.groupby("map", sort=False)[["icc", "median"]].mean()
        table = means.join(plain).reset_index()
        table.insert(0, "method", method)
        table.insert(2, "n", len(mine) // len(table))
        out.append(table)
    return pd.concat(out, ignore_index=True)


def repeats_markdown(table: pd.DataFrame, over: str) -> str:
    """Lay a summary out: a table a map, a row a method."""
    heads = (
        "variance within pairs, over interpolation",
        "over MP-PCA",
        f"variance between voxels, over {over}",
        "ICC",
        "median",
    )
    parts = []
    for name in MAPS:
        here = table[table["map"] == name].set_index("method")[list(COLUMNS)]
        parts.append(grid_markdown(f"Repeats, {name}", here.set_axis(heads, axis=1), ".3f"))
    return "\n".join(parts)


def grid_markdown(title: str, grid: pd.DataFrame, digits: str | Sequence[str]) -> str:
    """Lay a table out; empty cells where there is no number."""
    formats = [digits] * grid.shape[1] if isinstance(digits, str) else digits
    lines = [
        f"| {title} | " + " | ".join(grid.columns) + " |",
        "|---" * (len(grid.columns) + 1) + "|",
    ]
    for name, row in grid.iterrows():
        cells = (
            format(value, form) if np.isfinite(value) else ""
            for value, form in zip(row, formats, strict=True)
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
