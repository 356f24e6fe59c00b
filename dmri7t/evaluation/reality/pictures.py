"""A picture of real scans beside their simulations: histograms, spectra, noise."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dmri7t.evaluation.reality.compare import FAR, Comparison, pool
from dmri7t.evaluation.reality.measure import AXES, frequencies
from dmri7t.files import whole_file
from dmri7t.signal.spaces import TISSUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

HISTOGRAMS = ("sqrt R0 debiased", "sqrt R2 smoothed", "sqrt R4 smoothed", "FA", "MD")

SPECTRA = ("b0", "sqrt R0", "sqrt R2")

COLOURS = {"WM": "C0", "GM": "C2", "CSF": "C3", "real": "C0", "simulated": "C1"}

LONGEST = 10
"""Quantities in the chart of distances."""

SHELLS = 6
"""Shells in one picture; more go into further ones."""


def draw_comparisons(comparisons: list[Comparison], folder: Path) -> list[Path]:
    """Draw two rows of panels a shell into comparison.png, comparison_2.png and so on.

    Returns
    -------
    list of Path
    """
    from matplotlib.figure import Figure

    paths = []
    for first in range(0, len(comparisons), SHELLS):
        part = comparisons[first : first + SHELLS]
        figure = Figure(figsize=(18, 6.4 * len(part)), layout="constrained")
        rows = figure.subfigures(len(part), 1, squeeze=False)[:, 0]
        for row, comparison in zip(rows, part, strict=True):
            _draw(row, comparison)
        number = f"_{first // SHELLS + 1}" if first else ""
        paths.append(Path(folder) / f"comparison{number}.png")
        with whole_file(paths[-1]) as partial:
            # no date within: the same comparison gives the same file
            figure.savefig(partial, dpi=90, format="png", metadata={"Software": None})
    return paths


def _draw(figure: SubFigure, comparison: Comparison) -> None:
    """Draw the panels of one shell."""
    figure.suptitle(
        f"{comparison.scan} {comparison.shell}: real filled or solid, simulated dashed",
        fontsize=13,
    )
    upper, lower = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1, 1.25])
    real, simulated = (pool(side, "voxels") for side in (comparison.real, comparison.simulated))
    for axes, name in zip(upper, HISTOGRAMS, strict=True):
        _histogram(axes, name, real, simulated)
    upper[2].legend(frameon=False)  # its right is empty
    for axes, name in zip(lower, SPECTRA, strict=False):
        _spectrum(axes, name, comparison)
    lower[0].legend(frameon=False)
    _correlations(lower[3], comparison)
    _distances(lower[4], comparison.table())


def _histogram(
    axes: Axes,
    name: str,
    real: dict[tuple[str, str], np.ndarray],
    simulated: dict[tuple[str, str], np.ndarray],
) -> None:
    axes.set(title=f"{name}, 1e-3 mm²/s" if name == "MD" else name, yticks=[])
    tissues = [t for t in TISSUES if len(real.get((name, t), ())) and len(simulated[name, t])]
    if not tissues:
        axes.text(0.5, 0.5, "not fitted", ha="center", transform=axes.transAxes)
        return
    top = max(np.percentile(s[name, t], 99.5) for s in (real, simulated) for t in tissues)
    edges = np.linspace(0, max(top, 1e-6), 60).tolist()
    heights = {}
    for tissue in tissues:
        draw = partial(axes.hist, bins=edges, density=True, color=COLOURS[tissue])
        filled, *_ = draw(real[name, tissue], alpha=0.35, label=tissue)
        dashed, *_ = draw(simulated[name, tissue], histtype="step", linestyle="--", linewidth=1.6)
        heights[tissue] = max(np.max(filled), np.max(dashed))
    # the narrow peak of CSF may leave the panel, so that the others can be seen
    axes.set_ylim(0, 1.1 * max(heights.get("WM", 0), heights.get("GM", 0)) or None)


def _spectrum(axes: Axes, name: str, comparison: Comparison) -> None:
    """Median over blocks, and the band between the quartiles."""
    sides = {"real": (comparison.real, "-"), "simulated": (comparison.simulated, "--")}
    for label, (blocks, line) in sides.items():
        shares = [b.spectra[name, "radial"] for b in blocks if (name, "radial") in b.spectra]
        if shares:
            low, middle, high = np.percentile(shares, [25, 50, 75], axis=0)
            frequency = frequencies(len(middle))
            axes.fill_between(frequency, low, high, alpha=0.25, color=COLOURS[label], linewidth=0)
            axes.plot(frequency, middle, line, color=COLOURS[label], label=label)
    axes.set(title=f"power of {name}", xlabel="cycles a voxel", yscale="log")


def _correlations(axes: Axes, comparison: Comparison) -> None:
    """Correlation of residuals between neighbours, median and quartiles over blocks."""
    for shift, (label, blocks) in enumerate(
        {"real": comparison.real, "simulated": comparison.simulated}.items()
    ):
        values = pool(blocks, "metrics")
        for position, axis in enumerate(AXES):
            correlation = values.get((f"correlation of residuals, {axis}", ""))
            if correlation is not None:
                low, middle, high = np.percentile(correlation, [25, 50, 75])
                spread = [[middle - low], [high - middle]]
                axes.errorbar(
                    position + 0.2 * shift,
                    middle,
                    spread,
                    fmt="os"[shift],
                    color=COLOURS[label],
                    capsize=4,
                )
    axes.set(title="residuals of neighbours", ylabel="correlation")
    axes.set_xticks(np.arange(3) + 0.1, AXES)


def _distances(axes: Axes, table: pd.DataFrame) -> None:
    """The quantities that lie farthest apart."""
    far = table.nlargest(LONGEST, "distance")[::-1]
    names = [f"{row.quantity} {row.tissue}".strip() for row in far.itertuples()]
    names = [name.replace("log10 of power, ", "") for name in names]
    axes.barh(range(len(far)), far["distance"], color="0.6")
    axes.axvline(FAR, color="C3", linewidth=1)
    axes.set_yticks(range(len(far)), names, fontsize=8)
    axes.set(title="largest distances")
