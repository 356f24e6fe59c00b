"""One scan's row of the group's table, read from its results."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from dmri7t.errors import InputError
from dmri7t.io.derivatives import OUTPUTS, QSIPREP_SPACES
from dmri7t.io.images import load_image
from dmri7t.io.maps import load_map, load_mask
from dmri7t.io.texts import read_json, read_text
from dmri7t.reports.group.columns import COLUMNS
from dmri7t.reports.group.records import GroupScan
from dmri7t.reports.records import THUMBNAIL
from dmri7t.signal.orders import ORDERS

LAST = "dwi"
"""Output that is written last: where it is, the scan's others are."""

REPAIRED = ("input_nonfinite", "input_negative", "output_outside")


def scan_records(out_dir: Path, label: str, sessions: Iterable[str] = ()) -> list[Path]:
    """Records of quality of a participant's scans, sorted; only those of ``sessions`` if given."""
    ending = OUTPUTS["quality_json"].suffix
    root = Path(out_dir) / f"sub-{label}"
    wanted = {f"ses-{session}" for session in sessions}
    paths = [p for folder in ("dwi", "ses-*/dwi") for p in root.glob(f"{folder}/*{ending}")]
    return sorted(p for p in paths if not wanted or p.parent.parent.name in wanted)


def read_scans(records: list[Path], threads: int = 1) -> tuple[list[GroupScan], list[str]]:
    """Read scans side by side.

    Returns
    -------
    scans : list of GroupScan
    problems : list of str
        A sentence for every scan whose results are not whole.
    """
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(_try_scan, records))
    scans = [result for result in results if isinstance(result, GroupScan)]
    return scans, [result for result in results if isinstance(result, str)]


def _try_scan(record: Path) -> GroupScan | str:
    try:
        return read_scan(record)
    except InputError as error:
        return str(error)


def read_scan(path: Path) -> GroupScan:
    """Read one scan's metrics; FA and MD from their maps.

    Parameters
    ----------
    path : Path
        Its record of quality, JSON.

    Raises
    ------
    InputError
        If a file of it is missing or cannot be read.
    """
    stem = path.name.removesuffix(OUTPUTS["quality_json"].suffix)
    entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
    prefix = path.parent / stem
    if _find(prefix, LAST) is None:
        raise InputError(f"{stem}: the 7T-like scan is missing; run the participant again.")
    try:
        record, settings = read_json(path), _settings(_present(prefix, "settings"))
        values = {
            "bids_name": f"{stem}_dwi",
            "participant_id": f"sub-{entities['sub']}",
            "session_id": f"ses-{entities['ses']}" if "ses" in entities else None,
            **_metrics(record),
            "voxel_size_in": _edge(_voxel_sizes(record, prefix)),
            **_map_metrics(prefix, any(shell["translated"] for shell in record["shells"])),
            "software_version": record["SoftwareVersion"],
            # in a scan that was only interpolated the model has no part
            "model_name": record.get("ModelName"),
            "model_version": record.get("ModelVersion"),
            "model_sha256": record.get("ModelSHA256"),
            "settings_sha256": record["SettingsSHA256"],
        }
        values["protocol"] = _protocol(record, values["voxel_size_in"])
        outside = tuple(record["outside_training"])
    except Exception as error:
        # whatever a damaged or edited file raises, the others' rows do not depend on it
        named = isinstance(error, InputError | OSError)
        reason = error if named else f"{path.name}: {type(error).__name__}: {error}"
        raise InputError(
            f"{stem}: its results cannot be read ({reason}); run the participant again."
        ) from error
    ordered = {column.name: values[column.name] for column in COLUMNS}
    label = entities["sub"]
    return GroupScan(stem, label, ordered, settings, outside, _thumbnails(path, stem, label))


def _thumbnails(record: Path, stem: str, label: str) -> tuple[str, ...]:
    """Links to the pictures of FA before and after that the report of a scan left."""
    root = next(folder for folder in record.parents if folder.name == f"sub-{label}").parent
    links = [f"sub-{label}/figures/{stem}_{THUMBNAIL}_{side}.jpg" for side in ("before", "after")]
    return tuple(links) if all((root / link).is_file() for link in links) else ()


def _metrics(record: dict[str, Any]) -> dict[str, Any]:
    """Quality metrics; of several shells the value that most calls for a look."""
    shells = [shell for shell in record["shells"] if shell["translated"]]
    agreement = [shell.get("consistency", {}) for shell in shells]
    novelty = [shell["novelty"] for shell in shells if shell.get("novelty")]
    values = {
        "n_b0": record["b0"]["n_volumes"],
        "n_directions": min((shell["n_directions"] for shell in shells), default=None),
        "n_translated": len(shells),
        "n_interpolated": len(record["shells"]) - len(shells),
        "snr": record["snr"],
        "error": _highest(_held_out(shell, "result") for shell in shells),
        "error_filter": _highest(_held_out(shell, "filter") for shell in shells),
        "nmse": record["nmse"]["all"],
        "nmse_b0": record["nmse"].get("b0"),
        "novelty": _highest(n.get("score") for n in novelty),
        "novelty_ml": _highest(n.get("volume_ml") for n in novelty),
        "compared": record["compared"],
        "flagged": record["flagged"],
        "mask_volume": record["mask_volume_ml"],
        **{name: record["repaired"][name] for name in REPAIRED if name in record["repaired"]},
    }
    for row, order in enumerate(ORDERS):
        for name in ("difference", "beyond"):
            values[f"{name}_r{order}"] = _highest(_at(a.get(name), row) for a in agreement)
        values[f"bounded_r{order}"] = _highest(_at(s.get("bounded"), row) for s in shells)
    return values


def _held_out(shell: dict[str, Any], name: str) -> float | None:
    """Error along directions that were left out, over interpolation's; None if not measured."""
    errors = (shell.get("evidence") or {}).get("errors", [])
    return next((error["ratio"] for error in errors if error["name"] == name), None)


def _at(values: list[float] | None, row: int) -> float | None:
    return values[row] if values and len(values) > row else None


def _highest(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _protocol(record: dict[str, Any], voxel_size: float) -> str:
    """Words for how a scan was taken; small differences do not separate scans.

    Examples
    --------
    >>> _protocol({"shells": [{"name": "b1000", "bval": 995.0, "n_volumes": 32}]}, 2.004)
    '2.0 mm, b1000 (32)'
    """
    shells = [
        f"b{round(s['bval'], -2):.0f} ({s['n_volumes']})" if s.get("bval") else s["name"]
        for s in record["shells"]
    ]
    return f"{voxel_size:.1f} mm, {', '.join(shells)}"


def _find(prefix: Path, key: str) -> Path | None:
    """A result of a scan, in either layout; None where it is missing."""
    output = OUTPUTS[key]
    names = [f"{prefix}{output.suffix}"]
    if output.qsiprep:
        stems = (str(prefix), *(f"{prefix}_space-{space}" for space in QSIPREP_SPACES))
        names += [f"{stem}{output.qsiprep}" for stem in stems]
    return next((Path(name) for name in names if Path(name).is_file()), None)


def _present(prefix: Path, key: str) -> Path:
    path = _find(prefix, key)
    if path is None:
        raise FileNotFoundError(f"{prefix.name}{OUTPUTS[key].suffix} is missing")
    return path


def _map_metrics(prefix: Path, translated: bool) -> dict[str, float | None]:
    """Voxel size of the output, and FA and MD in the brain mask, where there are any."""
    mask_XYZ, grid = load_mask(_present(prefix, "mask"))
    values: dict[str, float | None] = {"voxel_size_out": _edge(grid.voxel_sizes)}
    for name in ("fa", "md"):
        # directions of a scan that was only interpolated may determine no tensor
        path = _present(prefix, name) if translated else _find(prefix, name)
        quartiles = _quartiles(path, mask_XYZ) if path else None
        values[f"{name}_median"] = quartiles[1] if quartiles else None
        values[f"{name}_iqr"] = quartiles[2] - quartiles[0] if quartiles else None
        # results of version 0.2.0 have no maps of the input
        native = _find(prefix, f"{name}_native")
        values[f"{name}_median_native"] = _median_inside(native) if native else None
    return values


def _settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not readable as TOML ({error})") from error


def _quartiles(path: Path, mask_XYZ: np.ndarray) -> list[float]:
    values = _values(path, lambda map_XYZ: map_XYZ[mask_XYZ])
    return [float(value) for value in np.percentile(values, (25, 50, 75))]


def _median_inside(path: Path) -> float | None:
    """Median of a map that is zero outside the brain; None where it is so everywhere."""
    values = _values(path, lambda map_XYZ: map_XYZ[map_XYZ != 0])
    return float(np.median(values)) if values.size else None


def _values(path: Path, pick: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    try:
        return pick(load_map(path)[0])
    except (OSError, EOFError, IndexError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _voxel_sizes(record: dict[str, Any], prefix: Path) -> Iterable[float]:
    """Of the input, mm; records of version 0.2.0 leave them to its maps."""
    if sizes := record.get("voxel_size_mm"):
        return sizes
    return voxel_sizes(load_image(_present(prefix, "rish0_native")).affine)


def _edge(sizes: Iterable[float]) -> float:
    """Cube root of the volume of a voxel, mm."""
    return round(float(np.prod(np.array([*sizes])) ** (1 / 3)), 4)
