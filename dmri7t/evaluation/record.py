"""Metrics of an evaluation, written into the model they were measured on."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pandas as pd

from dmri7t.evaluation.case import MAPS, METRICS
from dmri7t.models.bundle import check_bundle, write_bundle
from dmri7t.models.fitted import MapName, Metrics, Spread


def record_metrics(folder: Path, table: pd.DataFrame, command: str) -> None:
    """Put a summary into config.json and the card of a model.

    Parameters
    ----------
    folder : Path
        The model's.
    table : DataFrame
        From :func:`dmri7t.evaluation.tables.summarize`.
    command : str
        That measured it.
    """
    config = check_bundle(folder)
    maps = table[table["map"].isin(MAPS)]
    rows = {metric: _spreads(maps[maps["metric"] == metric]) for metric in METRICS}
    metrics = Metrics(
        subjects=int(table["n"].max()), command=command, nmse=rows["NMSE"], ssim=rows["SSIM"]
    )
    write_bundle(folder, attrs.evolve(config, metrics=metrics))


def _spreads(table: pd.DataFrame) -> dict[str, dict[MapName, Spread]]:
    """Mean and standard deviation by method and map; one subject has no deviation."""
    rows: dict[str, dict[MapName, Spread]] = {}
    columns = (table[name].tolist() for name in ("method", "map", "mean", "sd"))
    for method, name, mean, sd in zip(*columns, strict=True):
        spread = Spread(mean=round(mean, 5), sd=round(sd, 5) if np.isfinite(sd) else None)
        rows.setdefault(method, {})[name] = spread
    return rows
