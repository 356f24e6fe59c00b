"""What changed in each tissue of a scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dmri7t.signal.consistency import BeforeAfter
from dmri7t.signal.quality import evenly
from dmri7t.signal.spaces import TISSUES


def tissue_rows(
    labels_V: np.ndarray,
    labels_out_V: np.ndarray,
    native: dict[str, torch.Tensor],
    generated: dict[str, torch.Tensor],
    nmse: dict[str, float],
    millilitres: float,
) -> list[dict[str, Any]]:
    """Metrics of each tissue that the scan holds.

    Parameters
    ----------
    labels_V, labels_out_V : ndarray of int
        Of the brain's voxels on the input's and on the output's grid.
    native, generated : dict of Tensor
        ``fa`` (V,) and ``md`` (V,), mm2/s, before and after.
    nmse : dict
        From :func:`tissue_nmse`.
    millilitres : float
        Of a voxel of the input.

    Returns
    -------
    list of dict
        name, volume_ml, fa_native, fa_7tlike, md_native, md_7tlike (means), nmse.
    """
    rows = []
    for label, name in enumerate(TISSUES, start=1):
        here = torch.from_numpy(labels_V == label)
        there = torch.from_numpy(labels_out_V == label)
        if not (here.any() and there.any()):
            continue
        means = {
            f"{map_}_{when}": float(maps[map_][inside].double().mean())
            for map_ in ("fa", "md")
            for when, maps, inside in (("native", native, here), ("7tlike", generated, there))
        }
        volume = float(here.sum()) * millilitres
        rows.append({"name": name, "volume_ml": volume, **means, "nmse": nmse[name]})
    return rows


def tissue_nmse(
    labels_V: np.ndarray, scans: BeforeAfter, groups: dict[str, list[int]]
) -> dict[str, float]:
    """NMSE of the output, brought back to the input's grid, in each tissue.

    Parameters
    ----------
    labels_V : ndarray of int
    scans, groups
        As in :func:`dmri7t.signal.quality.compare_groups`, with the same volumes.
    """
    index = torch.from_numpy(labels_V.astype(np.int64))
    sums = torch.zeros(2, len(TISSUES) + 1, dtype=torch.float64)
    for indices in groups.values():
        rows = evenly(indices)
        for row in rows:
            for i, values in enumerate((scans.difference(row), scans.input_NV[row])):
                energy = torch.bincount(index, values.double().square(), len(TISSUES) + 1)
                sums[i] += energy * (len(indices) / len(rows))
    ratio = sums[0] / sums[1].clamp(min=1e-30)
    return {name: float(ratio[label]) for label, name in enumerate(TISSUES, start=1)}


def misfit(rows: list[dict[str, Any]]) -> str:
    """Say that tissues are not where the labels have them; empty if they may be.

    Water diffuses most freely in CSF, and along fibres in white matter; where the input's own
    metrics say otherwise, the labels mean something else or lie elsewhere.

    Examples
    --------
    >>> rows = [{"name": n, "md_native": md, "fa_native": fa} for n, md, fa in
    ...         (("GM", 2.4e-3, 0.1), ("WM", 0.8e-3, 0.2), ("CSF", 0.7e-3, 0.4))]
    >>> misfit(rows)
    'mean diffusivity is not highest in CSF'
    """
    by_name = {row["name"]: row for row in rows}
    missing = [name for name in TISSUES if name not in by_name]
    if missing:
        return f"no voxel of the scan is {' or '.join(missing)}"
    if max(by_name, key=lambda name: by_name[name]["md_native"]) != "CSF":
        return "mean diffusivity is not highest in CSF"
    if by_name["WM"]["fa_native"] <= by_name["GM"]["fa_native"]:
        return "anisotropy is not higher in white matter than in grey"
    return ""


def tissue_record(
    overlap: float, needed: float, rows: Callable[[], list[dict[str, Any]]], maker: str, source: str
) -> dict[str, Any]:
    """Gather metrics by tissue, or the sentence that says why there are none.

    Parameters
    ----------
    overlap : float
        Dice of the brain masks of the scan and of the tissues.
    needed : float
        What it must be: :data:`dmri7t.signal.spaces.MIN_DICE` or MIN_DICE_NAMED there.
    rows : callable
        Computes :func:`tissue_rows`; asked only where the spaces are the same.
    maker, source : str
        Who made the tissues, and their BIDS URI.
    """
    record = {"source": source, "maker": maker, "dice": overlap, "dice_needed": needed}
    metrics: list[dict[str, Any]] = []
    if overlap < needed:
        why = (
            f"the brain masks of the scan and of {maker} overlap by {overlap:.2f} (Dice), and "
            f"{needed:g} is needed to believe that the two share a space"
        )
    else:
        metrics = rows()
        why = misfit(metrics)
        why = f"the labels of {maker} do not fit this scan: {why}" if why else ""
    reason = f"No metrics by tissue: {why}." if why else ""
    return {**record, "left_out": reason, "metrics": [] if reason else metrics}
