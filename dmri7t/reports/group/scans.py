"""A row of figures for every scan of a derivative data set, read from the results themselves."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.derivatives import OUTPUTS, QSIPREP_SPACES
from dmri7t.io.maps import load_map, load_mask
from dmri7t.signal.orders import ORDERS

WHOLE = "dwi"
"""Output that is written last: where it is, the scan's others are."""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Parameters
    ----------
    name : str
    text : str
        What it is, a sentence.
    units : str
        As BIDS writes them; empty where there are none.
    title : str
        Of its figure; empty where it has none.
    skewed : bool
        Whether its values crowd above zero and have a long tail.
    factor : float
        What the figure multiplies values by, for its units.
    """

    name: str
    text: str
    units: str = ""
    title: str = ""
    skewed: bool = False
    factor: float = 1


def _by_order(name: str, text: str, title: str) -> list[Column]:
    return [
        Column(f"{name}_r{order}", text.format(order=order), "", title.format(order=order), True)
        for order in ORDERS
    ]


COLUMNS = (
    Column("bids_name", "Name of the scan that came in, without its ending."),
    Column("participant_id", "Participant."),
    Column("session_id", "Session; n/a where there is none."),
    Column("protocol", "Voxels, b-values and directions of the scan; like is compared with like."),
    Column("n_b0", "Volumes that count as b0."),
    Column("n_directions", "Fewest directions of a shell that went through the model."),
    Column("n_translated", "Shells that went through the model."),
    Column("n_interpolated", "Shells that were interpolated only."),
    Column("voxel_size_in", "Voxel size of the input: cube root of the volume.", "mm"),
    Column("voxel_size_out", "Voxel size of the output: cube root of the volume.", "mm"),
    Column(
        "snr",
        "Signal-to-noise ratio of the b0, by the residuals of the fit; lowest of the shells.",
        "",
        "Signal-to-noise of the b0",
    ),
    Column(
        "nmse",
        "Output, back on the input's grid, against the input: sum of squared differences over sum "
        "of squares, all volumes.",
        "",
        "NMSE to the input",
        True,
    ),
    Column(
        "nmse_b0",
        "Output, back on the input's grid, against the input, the b0 volumes only.",
        "",
        "NMSE to the input, b0",
        True,
    ),
    *_by_order(
        "difference",
        "Energy of output minus input in order {order}, on the input's grid, over that of the "
        "input; highest of the shells.",
        "",
    ),
    *_by_order(
        "beyond",
        "Fraction of brain voxels where order {order} departs from the input by more than the "
        "scan's noise explains; highest of the shells.",
        "Departure of R{order} beyond noise, part of the brain",
    ),
    *_by_order(
        "bounded",
        "Fraction of brain voxels where the ratio of generated to measured RISH of order {order} "
        "met a bound; highest of the shells.",
        "Ratio of R{order} held by a bound, part of the brain",
    ),
    Column(
        "novelty",
        "Distance from the training data over the threshold; highest of the shells, n/a where the "
        "model has nothing to compare with.",
        "",
        "Distance from the training data over the threshold",
        True,
    ),
    Column("novelty_ml", "Volume above that threshold; highest of the shells.", "mL"),
    Column(
        "compared", "Whether the model could compare all translated shells with its training data."
    ),
    Column("flagged", "Whether anything about the scan is unlike what the model was trained on."),
    Column("mask_volume", "Volume of the brain mask.", "mL", "Brain mask, ml"),
    Column("input_nonfinite", "Values of the input that were not finite and were set to zero."),
    Column("input_negative", "Values of the input that were negative and were set to zero."),
    Column("output_negative", "Values of the output that were negative and were set to zero."),
    Column(
        "fa_median",
        "Median fractional anisotropy of the output in its brain mask.",
        "",
        "FA of the output, median",
    ),
    Column(
        "fa_iqr",
        "Interquartile range of fractional anisotropy of the output in its brain mask.",
        "",
        "FA of the output, interquartile range",
    ),
    Column(
        "md_median",
        "Median mean diffusivity of the output in its brain mask.",
        "mm^2/s",
        "MD of the output, median, 10⁻³ mm²/s",
        factor=1e3,
    ),
    Column(
        "md_iqr",
        "Interquartile range of mean diffusivity of the output in its brain mask.",
        "mm^2/s",
        "MD of the output, interquartile range, 10⁻³ mm²/s",
        factor=1e3,
    ),
    Column("software_version", "Version of dmri7t that made the result."),
    Column("model_name", "Name of the model."),
    Column("model_version", "Version of the model."),
    Column("model_sha256", "Checksum of the model."),
    Column("settings_sha256", "Checksum of all settings that decided the result."),
)
"""Columns of the group's table, in order; each figure has a title."""


@dataclass(frozen=True)
class GroupScan:
    """One scan.

    Parameters
    ----------
    stem : str
        Name of the source without its suffix, such as ``sub-01_dir-AP``.
    label : str
        Of the participant.
    values : dict
        By the name of the column; None where a figure does not apply.
    settings : dict
        Of the run that made it, by name.
    outside : tuple of str
        Sentences that say where the scan lies outside what the model was trained on.
    """

    stem: str
    label: str
    values: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    outside: tuple[str, ...] = ()

    @property
    def href(self) -> str:
        """Where the participant's page tells of it."""
        return f"sub-{self.label}.html#{self.stem}"


def scan_records(out_dir: Path, label: str, sessions: Iterable[str] = ()) -> list[Path]:
    """Records of quality of a participant's scans, sorted; only those of ``sessions`` if given."""
    ending = OUTPUTS["quality_json"].suffix
    root = Path(out_dir) / f"sub-{label}"
    wanted = {f"ses-{session}" for session in sessions}
    found = [p for folder in ("dwi", "ses-*/dwi") for p in root.glob(f"{folder}/*{ending}")]
    return sorted(p for p in found if not wanted or p.parent.parent.name in wanted)


def read_scans(records: list[Path], threads: int = 1) -> tuple[list[GroupScan], list[str]]:
    """Read scans side by side.

    Returns
    -------
    scans : list of GroupScan
    problems : list of str
        A sentence for every scan whose results are not whole.
    """
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(_try_scan, records))
    return [f for f in found if isinstance(f, GroupScan)], [f for f in found if isinstance(f, str)]


def _try_scan(record: Path) -> GroupScan | str:
    try:
        return read_scan(record)
    except InputError as error:
        return str(error)


def read_scan(record: Path) -> GroupScan:
    """Read one scan's figures; FA and MD from their maps.

    Parameters
    ----------
    record : Path
        Its figures of quality, JSON.

    Raises
    ------
    InputError
        If a file of it is missing or cannot be read.
    """
    stem = record.name.removesuffix(OUTPUTS["quality_json"].suffix)
    entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
    place = record.parent / stem
    if _find(place, WHOLE) is None:
        raise InputError(f"{stem}: the 7T-like scan is missing; run the participant again.")
    try:
        told = json.loads(record.read_text())
        settings = tomllib.loads(_present(place, "settings").read_text())
        values = {
            "bids_name": f"{stem}_dwi",
            "participant_id": f"sub-{entities['sub']}",
            "session_id": f"ses-{entities['ses']}" if "ses" in entities else None,
            **_figures(told),
            **_of_maps(place),
            "software_version": told["SoftwareVersion"],
            "model_name": told["ModelName"],
            "model_version": told["ModelVersion"],
            "model_sha256": told["ModelSHA256"],
            "settings_sha256": told["SettingsSHA256"],
        }
        values["protocol"] = _protocol(told, values["voxel_size_in"])
        outside = tuple(told["outside_training"])
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        nibabel.filebasedimages.ImageFileError,
    ) as error:
        raise InputError(
            f"{stem}: its results cannot be read ({type(error).__name__}: {error}); run the "
            "participant again."
        ) from error
    ordered = {column.name: values[column.name] for column in COLUMNS}
    return GroupScan(stem, entities["sub"], ordered, settings, outside)


def _figures(told: dict[str, Any]) -> dict[str, Any]:
    """Figures of quality; of several shells the one that gives most cause to look."""
    shells = [shell for shell in told["shells"] if shell["translated"]]
    agreement = [shell.get("consistency", {}) for shell in shells]
    novelty = [shell["novelty"] for shell in shells if shell.get("novelty")]
    values = {
        "n_b0": told["b0"]["n_volumes"],
        "n_directions": min(shell["n_directions"] for shell in shells),
        "n_translated": len(shells),
        "n_interpolated": len(told["shells"]) - len(shells),
        "snr": told["snr"],
        "nmse": told["nmse"]["all"],
        "nmse_b0": told["nmse"].get("b0"),
        "novelty": _highest(n.get("score") for n in novelty),
        "novelty_ml": _highest(n.get("volume_ml") for n in novelty),
        "compared": told["compared"],
        "flagged": told["flagged"],
        "mask_volume": told["mask_volume_ml"],
        **{name: told["repaired"][name] for name in told["repaired"] if name in REPAIRED},
    }
    for row, order in enumerate(ORDERS):
        for name in ("difference", "beyond"):
            values[f"{name}_r{order}"] = _highest(_at(a.get(name), row) for a in agreement)
        values[f"bounded_r{order}"] = _highest(_at(s.get("bounded"), row) for s in shells)
    return values


REPAIRED = ("input_nonfinite", "input_negative", "output_negative")


def _at(values: list[float] | None, row: int) -> float | None:
    return values[row] if values and len(values) > row else None


def _highest(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _protocol(told: dict[str, Any], voxel_size: float) -> str:
    """Words for how a scan was taken; small differences do not part scans.

    Examples
    --------
    >>> _protocol({"shells": [{"name": "b1000", "bval": 995.0, "n_volumes": 32}]}, 2.004)
    '2.0 mm, b1000 (32)'
    """
    shells = [
        f"b{round(s['bval'], -2):.0f} ({s['n_volumes']})" if s.get("bval") else s["name"]
        for s in told["shells"]
    ]
    return f"{voxel_size:.1f} mm, {', '.join(shells)}"


def _find(place: Path, key: str) -> Path | None:
    """A result of a scan, in either layout; None where it is not there."""
    output = OUTPUTS[key]
    names = [f"{place}{output.suffix}"]
    if output.qsiprep:
        stems = (str(place), *(f"{place}_space-{space}" for space in QSIPREP_SPACES))
        names += [f"{stem}{output.qsiprep}" for stem in stems]
    return next((Path(name) for name in names if Path(name).is_file()), None)


def _present(place: Path, key: str) -> Path:
    found = _find(place, key)
    if found is None:
        raise FileNotFoundError(f"{place.name}{OUTPUTS[key].suffix} is missing")
    return found


def _of_maps(place: Path) -> dict[str, float]:
    """Voxel sizes, and FA and MD in the brain mask."""
    mask_XYZ, grid = load_mask(_present(place, "mask"))
    before = nibabel.load(_present(place, "rish0_native"))
    sizes = nibabel.affines.voxel_sizes(before.affine)
    values = {
        "voxel_size_in": round(float(np.prod(sizes) ** (1 / 3)), 4),
        "voxel_size_out": round(float(np.prod(grid.voxel_sizes) ** (1 / 3)), 4),
    }
    for name in ("fa", "md"):
        low, middle, high = np.percentile(
            load_map(_present(place, name))[0][mask_XYZ], (25, 50, 75)
        )
        values |= {f"{name}_median": float(middle), f"{name}_iqr": float(high - low)}
    return values
