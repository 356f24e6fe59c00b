"""The paper's tables: mean and spread over subjects, and medians beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dmri7t.evaluation.case import ANGLE, COEFFICIENTS, DWI, MAPS, METRICS
from dmri7t.evaluation.measure import KEYS
from dmri7t.evaluation.tensors import BIAS, RMSE, TENSOR_MAPS
from dmri7t.evaluation.texture import TEXTURE
from dmri7t.files import whole_file, write_whole

DEGREES, PEAK = ANGLE.split()
"""How angles of the principal direction stand in the tables."""


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and median over subjects.

    A subject's shells are averaged first.

    Parameters
    ----------
    rows : DataFrame
        From :func:`dmri7t.evaluation.measure.run_methods`.

    Returns
    -------
    DataFrame
        method, map, metric, mean, sd, n, median; with a column factor before them where scans
        were degraded.
    """
    long = rows.melt(KEYS, var_name="column").dropna(subset="value")
    long[["metric", "map"]] = long.pop("column").str.split(" ", expand=True)
    by = ["factor", "method", "map", "metric"]
    each = long.groupby([*by, "subject"], sort=False)["value"].mean()
    groups = each.groupby(by, sort=False)
    table = groups.agg(mean="mean", sd="std", n="count", median="median").reset_index()
    return table if (table["factor"] != "").any() else table.drop(columns="factor")


def markdown(table: pd.DataFrame, notes: list[str]) -> str:
    """Lay a summary out as the paper does: a table a metric, a row a method."""
    parts = [f"{note}\n" for note in notes]
    factors = table["factor"].unique() if "factor" in table else [""]
    for factor in factors:
        here = table[table["factor"] == factor] if factor else table
        for metric in (*METRICS, DEGREES, BIAS, RMSE, *TEXTURE):
            title = " ".join(filter(None, [metric, str(factor)]))
            parts.append(_grid(here[here["metric"] == metric], title, spread=True))
        medians = f"Median {METRICS[0]} {factor}".rstrip()
        parts.append(_grid(here[here["metric"] == METRICS[0]], medians, spread=False))
    return "\n".join(parts)


def _grid(table: pd.DataFrame, title: str, spread: bool) -> str:
    names = dict.fromkeys((*MAPS, *TENSOR_MAPS, *COEFFICIENTS, DWI, PEAK))
    maps = [name for name in names if (table["map"] == name).any()]
    if not maps:
        return ""
    lines = [f"| {title} | " + " | ".join(maps) + " |", "|---" * (len(maps) + 1) + "|"]
    for method, rows in table.groupby("method", sort=False):
        by_map = rows.set_index("map")
        cells = []
        for name in maps:
            row = by_map.loc[name] if name in by_map.index else None
            if row is None:
                cells.append("")
            elif spread and row["n"] > 1:
                cells.append(f"{row['mean']:.4f} ± {row['sd']:.4f}")
            else:
                cells.append(f"{row['mean' if spread else 'median']:.4f}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_tables(rows: pd.DataFrame, folder: Path, notes: list[str]) -> pd.DataFrame:
    """Write table.tsv, subjects.tsv and table.md; return the summary."""
    table = summarize(rows)
    for name, frame in (("subjects", rows.dropna(axis=1, how="all")), ("table", table)):
        with whole_file(folder / f"{name}.tsv") as part:
            frame.to_csv(part, sep="\t", index=False, float_format="%.5f")
    write_whole(folder / "table.md", markdown(table, notes))
    return table
