"""Quality metrics: repairs of the input, noise, and how far the output left the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch

from dmri7t.signal.consistency import BeforeAfter
from dmri7t.signal.grids import place_words
from dmri7t.signal.orders import ORDERS

WORDS = {
    "voxel_size_mm": ("voxel size", " mm"),
    "bval": ("b-value", " s/mm2"),
    "n_directions": ("number of directions", ""),
    "snr": ("the b0's signal-to-noise ratio of", ""),
}
"""How ranges are called in sentences, and their units."""

SLACK = 0.02
"""Values this little outside the range of training count as inside."""

BEYOND = "outside the range of the model"
"""How the reason begins for which a shell of too high or low a b-value is interpolated only."""

COMPARED = 16
"""Volumes of a shell that are brought back and compared; more do not change the metric."""


REFINED_BY = ("filter", "model", "rish")
"""What coefficients are refined by, and the model's part in RISH, as columns of the table."""

HELD_OUT = (
    *("filter", "model", "result"),
    *("mppca_in_block", "result_in_block"),
    *("filter_coarser", "model_coarser", "result_coarser"),
)
"""Columns of the error along directions that were left out, over interpolation's."""

BY_TISSUE = ("volume_ml", "fa_native", "fa_7tlike", "md_native", "md_7tlike")
"""Columns of the table that are of tissues only."""


LARGEST = 1e12
"""Values from this one on are damage: no scanner gives them, and their squares overflow."""


def repair(volume: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Set what is not finite, beyond :data:`LARGEST` or below zero to zero.

    Returns
    -------
    volume : ndarray of float32
    nonfinite, negative : int
        How many values were repaired.

    Examples
    --------
    >>> fixed, nonfinite, negative = repair(np.array([1.0, np.nan, -2.0, 1e20]))
    >>> fixed.tolist(), nonfinite, negative
    ([1.0, 0.0, 0.0, 0.0], 2, 1)
    """
    with np.errstate(over="ignore"):
        volume = np.asarray(volume, np.float32)
    # the minimum is not a number where any value is not: one pass clears almost every volume
    lowest, highest = volume.min(initial=0), volume.max(initial=0)
    if lowest >= 0 and highest < LARGEST:
        return volume, 0, 0
    # what is no number is not below anything either
    bad = ~(np.abs(volume) < LARGEST)
    negative = np.less(volume, 0, where=~bad, out=np.zeros_like(bad))
    return np.where(bad | negative, np.float32(0), volume), int(bad.sum()), int(negative.sum())


def evenly(indices: list[int], n: int = COMPARED) -> list[int]:
    """At most ``n`` of the indices, evenly spread.

    Examples
    --------
    >>> evenly([3, 4, 5, 6, 7], 3)
    [3, 5, 7]
    """
    if len(indices) <= n:
        return list(indices)
    positions = np.linspace(0, len(indices) - 1, n).round().astype(int)
    return [indices[i] for i in positions]


def compare_groups(scans: BeforeAfter, groups: dict[str, list[int]]) -> dict[str, float]:
    """NMSE of the output, brought back to the input's grid, against the input.

    Parameters
    ----------
    scans : BeforeAfter
    groups : dict
        Volumes of the b0s and of every shell, by name. At most :data:`COMPARED` of each are
        looked at.

    Returns
    -------
    dict
        Sum of squared differences over sum of squared input, by group and for ``all``.
    """
    errors, energies = {}, {}
    for name, indices in groups.items():
        rows = evenly(indices)
        errors[name] = energies[name] = 0.0
        for row in rows:
            difference_V, input_V = scans.difference(row), scans.input_NV[row]
            # a group counts in "all" by its volumes, not by how many were looked at
            weight = len(indices) / len(rows)
            errors[name] += weight * float(difference_V.square().sum(dtype=torch.float64))
            energies[name] += weight * float(input_V.square().sum(dtype=torch.float64))
    nmse = {name: errors[name] / max(energies[name], 1e-30) for name in groups}
    nmse["all"] = sum(errors.values()) / max(sum(energies.values()), 1e-30)
    return nmse


def outside_training(ranges: dict[str, Any], values: dict[str, list[float]]) -> list[str]:
    """Say in plain sentences where a scan lies outside what a model was trained on.

    Parameters
    ----------
    ranges : dict
        Lowest and highest value by name, as in a model's config. Of the signal-to-noise ratio
        the lowest alone counts.
    values : dict
        Values of the scan by the same names.

    Examples
    --------
    >>> outside_training({"bval": [700, 3000]}, {"bval": [1000, 5000]})
    ['b-value 5000 s/mm2 lies outside the range of training (700 to 3000).']
    >>> outside_training({"snr": [10, 50]}, {"snr": [62.0]})
    []
    """
    sentences = []
    for name, of_scan in values.items():
        if name not in ranges:
            continue
        low, high = ranges[name]
        label, unit = WORDS.get(name, (name, ""))
        for value in sorted(set(of_scan)):
            # less noise than any training scan had is no reason to look twice
            quieter = name == "snr" and value > high
            if not (quieter or low * (1 - SLACK) <= value <= high * (1 + SLACK)):
                sentences.append(
                    f"{label} {value:.4g}{unit} lies outside the range of training "
                    f"({low:g} to {high:g})."
                )
    return sentences


@attrs.frozen
class Group:
    """Volumes of one b-value, and what became of them.

    Parameters
    ----------
    name : str
        ``b0``, or the shell's.
    n_volumes : int
    shell : dict
        Of a translated shell what its fit says: bval, n_directions, order, laplace_beltrami,
        gain, sigma (over the b0); ``consistency``: difference, noise and beyond by order, see
        :class:`dmri7t.signal.consistency.Departure`; ``bounded``: the fraction of voxels whose
        ratio met a bound, by order; ``evidence``: what left-out directions say, see
        :class:`dmri7t.signal.held_out.Evidence`; ``floor``: see
        :class:`dmri7t.signal.estimate.ShellEstimate`; ``novelty``: score, volume_ml and flagged,
        empty where the model cannot tell, see :class:`dmri7t.models.novelty.Compared`. Empty for
        all others.
    reason : str
        Why a shell was interpolated only.
    """

    name: str
    n_volumes: int
    shell: dict[str, Any] = attrs.field(factory=dict)
    reason: str = ""

    def row(self, nmse: float) -> dict[str, Any]:
        """What the record says of a shell."""
        row = {"name": self.name, "n_volumes": self.n_volumes, "translated": bool(self.shell)}
        if self.shell:
            row |= {**self.shell, "snr": 1 / max(self.shell["sigma"], 1e-6)}
        elif self.reason:
            row["reason"] = self.reason
        return {**row, "nmse": nmse}


def quality_record(
    groups: Sequence[Group],
    nmse: dict[str, float],
    checks: dict[str, Any],
    voxel_sizes: Sequence[float],
    ranges: dict[str, Any],
    extent: Sequence[str] = (),
) -> dict[str, Any]:
    """Gather all metrics of a scan.

    Parameters
    ----------
    groups : sequence of Group
        The b0s first.
    nmse : dict
        From :func:`compare_groups`.
    checks : dict
        Repairs of the input, ``nonfinite`` and ``negative``, and of the output,
        ``output_outside``; ``mask_volume_ml``; ``joined`` where the input has parts, and
        ``cleaning`` where noise or ringing were taken out of it.
    voxel_sizes : sequence of float (3,)
        Of the input, mm.
    ranges : dict
        Of the model's training.
    extent : sequence of str
        Sentences of :func:`dmri7t.signal.extent.extent_sentences`.
    """
    b0, *shells = groups
    rows = [shell.row(nmse[shell.name]) for shell in shells]
    translated = [row for row in rows if row["translated"]]
    values = {
        "voxel_size_mm": [round(mm, 3) for mm in voxel_sizes],
        "bval": [row["bval"] for row in translated],
        "n_directions": [row["n_directions"] for row in translated],
        "snr": [round(row["snr"], 1) for row in translated],
    }
    outside = outside_training(ranges, values)
    outside += [sentence for row in rows for sentence in _unlike(row)]
    outside += extent
    if not translated:
        outside.insert(0, "No shell went through the model: the result is the scan, interpolated.")
    return {
        "b0": {"n_volumes": b0.n_volumes, "nmse": nmse[b0.name]},
        "shells": rows,
        "snr": min((row["snr"] for row in translated), default=None),
        "voxel_size_mm": [round(float(mm), 4) for mm in voxel_sizes],
        "nmse": nmse,
        "repaired": {
            "input_nonfinite": checks["nonfinite"],
            "input_negative": checks["negative"],
            "output_outside": checks["output_outside"],
        },
        "mask_volume_ml": checks["mask_volume_ml"],
        **{name: checks[name] for name in ("joined", "cleaning") if name in checks},
        "compared": bool(translated) and all(row.get("novelty") for row in translated),
        "flagged": bool(outside),
        "outside_training": outside,
    }


def _unlike(row: dict[str, Any]) -> list[str]:
    """Sentences about a shell whose voxels, or whose b-value, are not like those of training."""
    novelty = row.get("novelty", {})
    if novelty.get("flagged"):
        likest = f"; most like {novelty['resembles']}" if novelty.get("resembles") else ""
        spots = novelty.get("spots", [])
        where = f", most of it at {place_words(spots[0]['place_mm'])}" if spots else ""
        return [
            f"{row['name']}: {novelty['volume_ml']:.1f} ml of the brain are not like the training "
            f"data{where} (up to {novelty['score']:.2f} times the threshold, which 1 of 100 "
            f"simulated scans exceeds{likest})."
        ]
    reason = row.get("reason", "")
    return [f"{row['name']}: {reason}."] if reason.startswith(BEYOND) else []


def quality_table(record: dict[str, Any]) -> str:
    """One row a group, and one a tissue, as TSV; n/a where a metric does not apply, as in BIDS."""
    columns = ["group", "n_volumes", "translated", "bval", "sh_order", "snr", "nmse"]
    by_order = ("difference", "noise", "beyond", "bounded")
    columns += [f"{name}_r{order}" for name in by_order for order in ORDERS]
    columns += [f"{name}_share_r{order}" for name in REFINED_BY for order in ORDERS]
    columns += [f"held_out_{name}" for name in HELD_OUT]
    columns += ["novelty", "novelty_ml", "flagged", *BY_TISSUE]
    lines = ["\t".join(columns)]
    b0 = {"name": "b0", "translated": False, **record["b0"]}
    for row in [b0, *record["shells"]]:
        of_row = {**row.get("consistency", {}), "bounded": row.get("bounded", [])}
        metrics = [v for name in by_order for v in _three(of_row.get(name, []))]
        evidence = row.get("evidence", {})
        shares = [*(evidence.get("shares") or [[], []]), evidence.get("rish_shares", [])]
        metrics += [share for of_one in shares for share in _three(of_one)]
        ratios = {error["name"]: error["ratio"] for error in evidence.get("errors", ())}
        ratios |= {
            f"{error['name']}_in_block": error["ratio"] for error in evidence.get("beside", ())
        }
        ratios |= {
            f"{error['name']}_coarser": error["ratio"] for error in evidence.get("coarser", ())
        }
        metrics += [ratios.get(name) for name in HELD_OUT]
        values = [
            row["name"],
            row["n_volumes"],
            row["translated"],
            row.get("bval"),
            row.get("order"),
            row.get("snr"),
            row["nmse"],
            *metrics,
            *(row.get("novelty", {}).get(name) for name in ("score", "volume_ml")),
            record["flagged"] if row is b0 else bool(_unlike(row)),
            *[None] * len(BY_TISSUE),
        ]
        lines.append("\t".join(_cell(value) for value in values))
    for row in record.get("tissues", {}).get("metrics", []):
        tissue = {"group": row["name"], **row}
        lines.append("\t".join(_cell(tissue.get(column)) for column in columns))
    return "\n".join(lines) + "\n"


def _three(values: list[float]) -> list[float | None]:
    """Metrics of orders 0, 2, 4; None where an order was not fitted."""
    return [*values, None, None, None][:3]


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
