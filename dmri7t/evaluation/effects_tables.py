"""Tables of what is kept of known effects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dmri7t.evaluation.effects import CHANGED, EFFECTS, GROUP, PLAIN, SPREAD, TRUTH, Found
from dmri7t.evaluation.repeatability import (
    INTERPOLATION,
    MPPCA,
    grid_markdown,
    repeats_markdown,
    summarize_repeats,
)
from dmri7t.files import whole_file, write_whole


def summarize_effects(rows: pd.DataFrame) -> pd.DataFrame:
    """What is kept of every effect, by method.

    Both groups are the same n heads, so what heads differ by is no part of a difference, but all
    of its spread::

        difference = mean over heads of (changed - as it is)
        kept       = difference / difference of the truth
        d          = difference / s
        s^2        = (variance over heads as they are + variance over heads changed) / 2
        voxel d    = difference / sqrt(s^2 of the truth + e^2)

    with e^2 the mean over heads and groups of the variance over a bundle's voxels of what their
    FA is off by. ``d`` is that of a study of mean FA over a bundle, ``voxel d`` that of a study
    voxel by voxel, where noise counts for more. Both are held against the truth's d: 1 is all that
    can be found, more than 1 is a difference made larger than it is, or people made more alike
    than they are. Against interpolation's, voxel d says how much less noise helps.

    Parameters
    ----------
    rows : DataFrame
        The ``effects`` of :func:`dmri7t.evaluation.effects.run_effects`.

    Returns
    -------
    DataFrame
        method, effect, difference, kept, kept_se (standard error over heads, by jackknife), d,
        d_kept (over the truth's), and of the groups voxel_d and voxel_d_kept (over the truth's d).
    """
    groups = {key: group.set_index("subject") for key, group in rows.groupby(["method", "group"])}
    out = []
    for effect in EFFECTS:
        sides = {
            method: (groups[method, PLAIN][effect], groups[method, CHANGED][effect])
            for method in dict.fromkeys(rows["method"])
        }
        right, people = _difference(sides[TRUTH]), _spread(sides[TRUTH])
        best = right.mean() / people
        for method, side in sides.items():
            difference = _difference(side)
            d = difference.mean() / _spread(side)
            row = {
                "method": method,
                "effect": effect,
                "difference": difference.mean(),
                "kept": difference.sum() / right.sum(),
                "kept_se": _ratio_error(difference, right),
                "d": d,
                "d_kept": d / best,
            }
            if effect == GROUP:
                errors = [groups[method, group][SPREAD] ** 2 for group in (PLAIN, CHANGED)]
                voxel_d = difference.mean() / np.sqrt(people**2 + pd.concat(errors).mean())
                row |= {"voxel_d": voxel_d, "voxel_d_kept": voxel_d / best}
            out.append(row)
    return pd.DataFrame(out)


def _difference(sides: tuple[pd.Series, pd.Series]) -> pd.Series:
    return sides[1] - sides[0]


def _spread(sides: tuple[pd.Series, pd.Series]) -> float:
    pooled = float(np.sqrt((sides[0].var() + sides[1].var()) / 2))
    return pooled if pooled > 0 else float("nan")


def _ratio_error(mine: pd.Series, right: pd.Series) -> float:
    """Standard error of a ratio of sums over heads, from leaving out each in turn."""
    ratios = (mine.sum() - mine) / (right.sum() - right)
    n = len(ratios)
    return float(np.sqrt((n - 1) / n * np.square(ratios - ratios.mean()).sum()))


def summarize_peaks(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over crossing voxels, by method: degrees, missed, false, voxels."""
    if rows.empty:
        return pd.DataFrame(columns=["degrees", "missed", "false", "voxels"])

    def mean(group: pd.DataFrame, column: str) -> float:
        told = group.dropna(subset=column)
        return float(np.average(told[column], weights=told["voxels"])) if len(told) else np.nan

    columns = ("degrees", "missed", "false")
    out = {}
    for name, group in rows.groupby("method", sort=False):
        out[name] = {column: mean(group, column) for column in columns}
        out[name]["voxels"] = float(group["voxels"].sum())
    return pd.DataFrame(out).T


def effects_markdown(found: Found, notes: Sequence[str]) -> str:
    """Lay everything out."""
    table = summarize_effects(found.effects)
    names = list(dict.fromkeys(table["method"]))
    group = table[table["effect"] == GROUP].set_index("method").loc[names]
    columns = {
        "difference": group["difference"],
        "kept": group["kept"],
        "standard error": group["kept_se"],
        "d": group["d"],
        "over the truth's": group["d_kept"],
        "voxel d": group["voxel_d"],
        "over the truth's d": group["voxel_d_kept"],
    }
    for name, title in ((INTERPOLATION, "over interpolation's"), (MPPCA, "over MP-PCA's")):
        if name in group.index:
            columns[title] = group["voxel_d"] / group["voxel_d"].loc[name]
    parts = [f"{note}\n" for note in notes]
    digits = [".4f", *[".3f"] * (len(columns) - 1)]
    parts.append(grid_markdown("Two groups, FA of a bundle", pd.DataFrame(columns), digits))
    lesions = list(EFFECTS[1:])
    for column, title in (("kept", "Lesion, contrast kept"), ("kept_se", "its standard error")):
        grid = table.pivot(index="method", columns="effect", values=column).loc[names, lesions]
        parts.append(grid_markdown(title, grid, ".3f"))
    peaks = summarize_peaks(found.peaks)
    parts.append(grid_markdown("CSD peaks at crossings", peaks, [".2f", ".3f", ".3f", ".0f"]))
    parts.append(repeats_markdown(summarize_repeats(found.repeats, TRUTH), TRUTH))
    return "\n".join(parts)


def write_effects(found: Found, folder: Path, notes: Sequence[str]) -> pd.DataFrame:
    """Write effects.tsv, subjects.tsv, peaks.tsv, repeats.tsv and table.md; return the summary."""
    table = summarize_effects(found.effects)
    frames = {
        "effects": table,
        "subjects": found.effects,
        "peaks": found.peaks,
        "repeats": found.repeats,
    }
    for name, frame in frames.items():
        with whole_file(folder / f"{name}.tsv") as part:
            frame.to_csv(part, sep="\t", index=False, float_format="%.6g")
    write_whole(folder / "table.md", effects_markdown(found, notes))
    return table
