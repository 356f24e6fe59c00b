"""One slice of every map and method with its error, as in the paper's Figure 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dmri7t.evaluation.measure import Shown
from dmri7t.files import whole_file

ERROR_SHARE = 0.3
"""Errors are shown up to this share of the map's window."""


def draw(shown: Shown, path: Path) -> None:
    """Draw the first case: a row a method, each map and its absolute error.

    Grey windows are the reference's for all rows. The slice lies across the scan's third axis;
    where that runs to the head, it is axial, the patient's right on the left.

    Parameters
    ----------
    shown : Shown
        With the maps of a case.
    path : Path
        PNG.
    """
    from matplotlib.figure import Figure

    case, reference = shown.case, shown.maps["reference"]
    if case is None:
        return
    counted = case.counted
    level = int(np.argmax(counted.sum((0, 1))))
    box = _box(counted[..., level])
    diagonal = np.diag(case.scan.brain_out.grid.affine)
    # right on the left, front at the top
    turn = (-1 if diagonal[1] > 0 else 1, -1 if diagonal[0] > 0 else 1)
    windows = {n: _window(reference[n], counted) for n in case.names}
    rows, columns = len(shown.maps), 2 * len(case.names)
    figure = Figure(figsize=(1.5 * columns + 1.6, 1.5 * rows + 0.7), facecolor="black", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.13, 0.06, 0.99, 0.92, 0.03, 0.03)
    error_image = None
    for row, (method, maps) in enumerate(shown.maps.items()):
        for column, name in enumerate(case.names):
            image = _cut(maps[name], level, box, turn)
            axes[row, 2 * column].imshow(image, cmap="gray", vmin=0, vmax=windows[name])
            if method != "reference":
                truth = _cut(reference[name], level, box, turn)
                error_image = axes[row, 2 * column + 1].imshow(
                    np.abs(image - truth) / windows[name], cmap="inferno", vmin=0, vmax=ERROR_SHARE
                )
            if row == 0:
                axes[0, 2 * column].set_title(name, color="white", fontsize=9)
                axes[0, 2 * column + 1].set_title("error", color="0.7", fontsize=8)
        axes[row, 0].text(
            -0.06,
            0.5,
            method.replace(", ", ",\n"),
            color="white",
            fontsize=7.5,
            ha="right",
            va="center",
            transform=axes[row, 0].transAxes,
        )
    for ax in axes.flat:
        ax.set_axis_off()
    if error_image is not None:
        bar = figure.colorbar(
            error_image, cax=figure.add_axes((0.4, 0.028, 0.3, 0.012)), orientation="horizontal"
        )
        bar.set_ticks([0, ERROR_SHARE], labels=["0", f"{ERROR_SHARE:.0%} of the window"])
        bar.ax.tick_params(colors="white", labelsize=7, length=0, pad=1)
    title = " ".join(filter(None, [case.subject, case.shell, case.factor]))
    figure.text(0.01, 0.97, title, color="white", fontsize=9, va="top")
    with whole_file(path) as part:
        figure.savefig(part, facecolor="black", format="png")


def _box(sheet: np.ndarray) -> tuple[slice, slice]:
    """What holds the counted voxels of a slice."""
    edges = [np.flatnonzero(sheet.any(1 - axis)) for axis in (0, 1)]
    rows, columns = (slice(max(e[0] - 1, 0), e[-1] + 2) for e in edges)
    return rows, columns


def _cut(
    volume: torch.Tensor, level: int, box: tuple[slice, slice], turn: tuple[int, int]
) -> np.ndarray:
    """Slice with the first axis across, rows and columns turned."""
    return volume[..., level].numpy()[box].T[:: turn[0], :: turn[1]]


def _window(volume: torch.Tensor, counted: np.ndarray) -> float:
    """Upper end of the grey window: what few voxels surpass."""
    return float(np.quantile(volume.numpy()[counted], 0.995)) or 1.0
