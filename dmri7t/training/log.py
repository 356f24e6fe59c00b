"""The log of a training: one line of JSON a time, joined into a table and drawn as curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dmri7t.files import whole_file, write_whole

SMOOTH = 0.05
"""Share of a stage's logged losses that one point of the drawn line is the mean of."""

COLOURS = 32
"""Of the picture of the curves."""


class StageLog:
    """The log of one stage: a file of lines, which a kill leaves whole but for the last.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line.

        Parameters
        ----------
        step : int
            From 0.
        values : mapping
            Losses and the like by their name.
        """
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")

    def go_on_from(self, step: int) -> None:
        """Forget what was logged at this step or later: it will be logged again."""
        kept = [row for row in read_lines(self.path) if row["step"] < step]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))


def read_lines(path: Path) -> list[dict[str, float]]:
    """Rows of a log; a last line that a kill cut short is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def join_logs(work: Path, stages: list[str]) -> pd.DataFrame:
    """Table of the stages' logs: stage, step (from 1), and a column for what was logged.

    Parameters
    ----------
    work : Path
        Folder of the training, with one folder a stage.
    stages : list of str
    """
    tables = [pd.DataFrame({"stage": [], "step": []})]
    for stage in stages:
        if rows := read_lines(work / stage / "log.jsonl"):
            # what was logged at one step came in several lines
            table = pd.DataFrame(rows).groupby("step", as_index=False).first()
            tables.append(table.assign(stage=stage, step=table["step"] + 1))
    joined = pd.concat([t for t in tables if len(t)] or tables)
    return joined[["stage", "step", *sorted(set(map(str, joined)) - {"stage", "step"})]]


def draw_curves(log: pd.DataFrame, path: Path) -> None:
    """Draw loss and validation loss of every stage, and the perplexity of the codebooks.

    Parameters
    ----------
    log : DataFrame
        From :func:`join_logs`.
    path : Path
        PNG.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    stages = list(dict.fromkeys(log["stage"]))
    coded = [s for s in stages if "perplexity" in log and _of(log, s, "perplexity").size]
    n_panels = len(stages) + bool(coded)
    figure = Figure(figsize=(4 * max(n_panels, 1), 3.2), layout="constrained")
    panels = figure.subplots(1, max(n_panels, 1), squeeze=False)[0]
    for axes, stage in zip(panels, stages, strict=False):
        losses = _of(log, stage, "loss")
        window = max(1, round(SMOOTH * len(losses)))
        axes.plot(losses.index, losses, ".", color="C0", alpha=0.25, markersize=4)
        smooth = losses.rolling(window, center=True, min_periods=1).mean()
        axes.plot(smooth.index, smooth, color="C0", label="training")
        checked = _of(log, stage, "validation_loss")
        axes.plot(checked.index, checked, ".-", color="C1", label="validation")
        axes.set(title=stage, xlabel="step", ylabel="loss")
        axes.legend(frameon=False)
    for stage in coded:
        values = _of(log, stage, "perplexity")
        panels[-1].plot(values.index, values, ".-", markersize=3, label=stage)
    if coded:
        panels[-1].set(title="codes in use (perplexity)", xlabel="step")
        panels[-1].legend(frameon=False)
    with whole_file(path) as part:
        # no date within: the same log gives the same file
        figure.savefig(part, dpi=110, format="png", metadata={"Software": None})
        # lines need few colours, and models that ship have to be small
        with Image.open(part) as drawn:
            few = drawn.convert("RGB").quantize(COLOURS)
        few.save(part, format="png", optimize=True)


def _of(log: pd.DataFrame, stage: str, column: str) -> pd.Series:
    """Values of one column of one stage by step, where there are any."""
    rows = log[log["stage"] == stage].set_index("step")
    return rows[column].dropna() if column in rows else pd.Series(dtype=float)
