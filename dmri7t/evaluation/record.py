"""Figures of an evaluation, written into the model they were measured on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dmri7t.models.bundle import check_bundle, write_bundle
from dmri7t.models.card import model_card


def record_figures(folder: Path, table: pd.DataFrame, command: str) -> None:
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
    config.pop("files")
    figures: dict[str, object] = {"subjects": int(table["n"].max()), "command": command}
    for metric in ("NMSE", "SSIM"):
        rows: dict[str, dict[str, dict[str, float]]] = {}
        for row in table[table["metric"] == metric].itertuples():
            value = {"mean": round(float(row.mean), 5), "sd": round(float(row.sd), 5)}
            rows.setdefault(row.method, {})[row.map] = value
        figures[metric.lower()] = rows
    config["figures"] = figures
    write_bundle(folder, config, model_card(config))
