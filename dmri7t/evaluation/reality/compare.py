"""Real scans beside simulations of their own protocol: how far apart do they lie?

A real scan is cut into blocks of the size that is simulated, and both are measured alike
(:mod:`dmri7t.evaluation.reality.measure`). The voxels of all blocks make one sample a quantity
and tissue; of noise, contrast and spectra, each block gives one value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pandas as pd

from dmri7t.errors import InputError
from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.reality.blocks import block_size, cut, read_shells, simulate
from dmri7t.evaluation.reality.measure import Measured, measure
from dmri7t.io.scan import Scan
from dmri7t.progress import track

FAR = 1.0
"""Distance from which a quantity counts as lying far apart."""

COLUMNS = (
    "quantity tissue real_q25 real_median real_q75 simulated_q25 simulated_median simulated_q75 "
    "distance overlap"
).split()


@attrs.frozen(eq=False)
class Comparison:
    """One shell of a real scan beside its simulations.

    Parameters
    ----------
    scan, shell : str
        Entities of the scan, and the shell, such as ``b1000``.
    real, simulated : list of Measured
        A block each.
    """

    scan: str
    shell: str
    real: list[Measured]
    simulated: list[Measured]

    def table(self) -> pd.DataFrame:
        """One row a quantity and tissue, see :func:`table_of`; scan and shell go first."""
        table = table_of(self.real, self.simulated)
        table.insert(0, "scan", self.scan)
        table.insert(1, "shell", self.shell)
        return table


def compare_scan(scan: Scan, seeds: range) -> Iterator[Comparison]:
    """Compare every shell of a scan with simulations of its protocol.

    Parameters
    ----------
    scan : Scan
    seeds : range
        Of the simulated subjects, a block of each, from
        :data:`dmri7t.simulation.subjects.REALITY`.

    Raises
    ------
    InputError
        If the scan cannot be used.
    """
    for shell in read_shells(scan):
        comparison = compare_shell(shell, scan.sidecar, seeds)
        if not comparison.real:
            raise InputError(
                f"{scan.dwi}: no block of it is a quarter brain; give a scan of a human brain, or "
                "a better brain mask."
            )
        yield attrs.evolve(comparison, scan=scan.stem)


def compare_shell(shell: ShellScan, sidecar: dict[str, Any], seeds: range) -> Comparison:
    """Compare one shell; without simulations where no block of it can be measured."""
    size = block_size(shell)
    real = [measure(block) for block in cut(shell, size)]
    name = f"b{round(shell.bval)}"
    blocks = simulate(shell, sidecar, seeds, size) if real else ()
    simulated = track(blocks, f"compare: {name}", len(seeds), "simulated block")
    return Comparison("", name, real, [measure(block) for block in simulated])


def pool(blocks: list[Measured], kind: str) -> dict[tuple[str, str], np.ndarray]:
    """Values of all blocks together, by quantity and tissue.

    Parameters
    ----------
    blocks : list of Measured
    kind : {"voxels", "metrics"}
    """
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for block in blocks:
        for key, values in getattr(block, kind).items():
            parts.setdefault(key, []).append(np.atleast_1d(values))
    return {key: np.concatenate(values) for key, values in parts.items()}


def distance(real: np.ndarray, simulated: np.ndarray, scale: float) -> float:
    """Wasserstein distance of two samples over a scale.

    Examples
    --------
    >>> round(distance(np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0, 5.0]), 2.0), 6)
    1.5
    """
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(real, simulated)) / max(scale, 1e-12)


def overlap(real: np.ndarray, simulated: np.ndarray, bins: int = 40) -> float:
    """Area that two normalised histograms share, 0 to 1.

    Examples
    --------
    >>> round(overlap(np.array([0.0, 1.0]), np.array([0.0, 5.0])), 2)
    0.5
    """
    low, high = np.percentile(np.concatenate([real, simulated]), [0.5, 99.5])
    edges = np.linspace(low, max(high, low + 1e-12), bins + 1)
    shares = [np.histogram(v.clip(low, edges[-1]), edges)[0] / len(v) for v in (real, simulated)]
    return float(np.minimum(*shares).sum())


def table_of(real: list[Measured], simulated: list[Measured]) -> pd.DataFrame:
    """Quartiles of both sides, their distance and overlap: ``COLUMNS``.

    The Wasserstein distance is taken over the range between the real quartiles. Metrics, of which
    a block gives one value, vary little within one scan and on purpose between simulations: there
    the wider of both sides' ranges counts. What either side has fewer than two values of is left
    out.
    """
    rows = []
    for kind in ("voxels", "metrics"):
        ours, theirs = pool(real, kind), pool(simulated, kind)
        for key in (k for k in ours if k in theirs and min(len(ours[k]), len(theirs[k])) > 1):
            quartiles = [np.percentile(side[key], [25, 50, 75]) for side in (ours, theirs)]
            ranges = [q[2] - q[0] for q in quartiles]
            scale = ranges[0] if kind == "voxels" else max(ranges)
            # where three quarters are zero the range between quartiles says nothing
            scale = scale or max(ours[key].std(), theirs[key].std())
            shared = overlap(ours[key], theirs[key], 40 if kind == "voxels" else 8)
            apart = distance(ours[key], theirs[key], scale)
            rows.append([*key, *quartiles[0], *quartiles[1], apart, shared])
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(comparison: Comparison) -> str:
    """Table of a shell for the screen, and what lies far apart; axes of spectra only if far."""
    table = comparison.table()
    far = table[table["distance"] > FAR].sort_values("distance", ascending=False)
    brief = ~table["quantity"].str.contains(r"power.*, [xyz]$", regex=True)
    named = [f"{row.quantity} {row.tissue}".strip() for row in far.itertuples()]
    lines = [
        f"{comparison.scan} {comparison.shell}: {len(comparison.real)} blocks of the scan, "
        f"{len(comparison.simulated)} simulated",
        _aligned(table[brief]),
    ]
    if not any(key[0] == "sigma over b0" for key in comparison.real[0].metrics):
        lines.append("Too few directions: noise was not measured, but drawn as in training.")
    if named:
        rows = (f"  {name} ({d:.1f})" for name, d in zip(named, far["distance"], strict=True))
        lines += [f"Far apart (distance above {FAR:g}):", *rows]
    else:
        lines.append(f"Nothing lies far apart (distance above {FAR:g}).")
    return "\n".join(lines)


def _aligned(table: pd.DataFrame) -> str:
    """Medians with their quartiles, side by side."""
    lines = [
        f"{'quantity':<52}{'tissue':<7}{'real':>31}{'simulated':>31}{'distance':>9}{'overlap':>8}"
    ]
    for row in table.itertuples():
        real = f"{row.real_median:.3g} ({row.real_q25:.3g} to {row.real_q75:.3g})"
        simulated = (
            f"{row.simulated_median:.3g} ({row.simulated_q25:.3g} to {row.simulated_q75:.3g})"
        )
        lines.append(
            f"{row.quantity:<52}{row.tissue:<7}{real:>31}{simulated:>31}"
            f"{row.distance:>9.2f}{row.overlap:>8.2f}"
        )
    return "\n".join(lines)
