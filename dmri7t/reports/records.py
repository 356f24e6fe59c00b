"""What a page is made from: plain records, and how they are read from a run's own files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from dmri7t import __version__
from dmri7t.errors import InputError

PACKAGES = ("numpy", "scipy", "nibabel", "dipy", "torch", "monai", "nipype", "pybids")
"""Packages whose versions the page lists, where they are installed."""


@dataclass(frozen=True)
class MapFile:
    """Where the values of one map lie.

    Parameters
    ----------
    path : Path
        .nii or .nii.gz on the grid of the mask; or .npy or .safetensors, which hold the values
        of the mask's voxels in C order.
    field : str
        Name of the tensor in a .safetensors file: (V,), (rows, V), or (V, 3) for directions.
    row : int, optional
        Volume of a 4D image, or row of an array.
    """

    path: Path
    field: str = ""
    row: int | None = None


@dataclass(frozen=True)
class ScanMaps:
    """Maps of one scan on one grid, before or after.

    Parameters
    ----------
    mask : Path
        Brain mask, NIfTI; its grid is the grid of all maps.
    b0 : MapFile
        Mean b0.
    rish : tuple of tuple of MapFile
        R0, R2, R4 of every shell that went through the model.
    fa, direction : MapFile, optional
        Fractional anisotropy, and the unit principal direction in the scanner frame (RAS+).
    spread : tuple of tuple of MapFile
        Standard deviation of the error of the same features; empty where there is none.
    calibrated : bool
        Whether that was fitted where the truth is known; else it is of the samples.
    departure : tuple of tuple of MapFile
        Departures of the output from the input, in units of noise, of the orders that every
        shell has; on the input's grid, so before only.
    novelty : tuple of MapFile, optional
        Distance from the training data over the threshold, a map for every shell; before only.
        None for a shell where the model cannot tell.
    """

    mask: Path
    b0: MapFile
    rish: tuple[tuple[MapFile, ...], ...]
    fa: MapFile | None = None
    direction: MapFile | None = None
    spread: tuple[tuple[MapFile, ...], ...] = ()
    departure: tuple[tuple[MapFile, ...], ...] = ()
    novelty: tuple[MapFile | None, ...] = ()
    calibrated: bool = False


def stage_maps(
    mask: str | Path,
    mask_out: str | Path,
    b0: str | Path,
    b0_out: str | Path,
    representations: Sequence[str | Path],
    generated: Sequence[str | Path],
    tensor_native: str | Path,
    tensor_generated: str | Path,
    departures: str | Path | None = None,
    novelty: Sequence[str | Path] = (),
) -> tuple[ScanMaps, ScanMaps]:
    """Maps before and after as the stages of the graph leave them.

    Parameters
    ----------
    mask, mask_out, b0, b0_out : path
        NIfTI on the input's and on the output's grid.
    representations, generated : sequence of path
        .safetensors of every shell that went through the model: ``rish``; ``mean`` and ``sd``.
    tensor_native, tensor_generated : path
        .safetensors with ``fa`` and ``direction``.
    departures : path, optional
        .safetensors with a map (orders, V) for every shell, named by its place.
    novelty : sequence of path
        .safetensors of the same shells: ``map``, or nothing where the model cannot tell.
    """
    said = {file: _said(file) for file in map(Path, generated)}
    drawn = [f for f, s in said.items() if s.get("calibrated") or s.get("samples", 1) > 1]
    before = ScanMaps(
        mask=Path(mask),
        b0=MapFile(Path(b0)),
        rish=tuple(_rows(Path(file), "rish") for file in representations),
        fa=MapFile(Path(tensor_native), "fa"),
        direction=MapFile(Path(tensor_native), "direction"),
        departure=_departures(Path(departures)) if departures else (),
        novelty=tuple(MapFile(file, "map") if _said(file) else None for file in map(Path, novelty)),
    )
    after = ScanMaps(
        mask=Path(mask_out),
        b0=MapFile(Path(b0_out)),
        rish=tuple(_rows(Path(file), "mean") for file in generated),
        fa=MapFile(Path(tensor_generated), "fa"),
        direction=MapFile(Path(tensor_generated), "direction"),
        spread=tuple(_rows(file, "sd") for file in drawn),
        calibrated=any(s.get("calibrated") for s in said.values()),
    )
    return before, after


def _rows(path: Path, name: str) -> tuple[MapFile, ...]:
    return tuple(MapFile(path, name, row) for row in range(3))


def _departures(path: Path) -> tuple[tuple[MapFile, ...], ...]:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        names = sorted(file.keys(), key=int)  # noqa: SIM118
        orders = [file.get_slice(name).get_shape()[0] for name in names]
    return tuple(
        tuple(MapFile(path, name, row) for row in range(n))
        for name, n in zip(names, orders, strict=True)
    )


def _said(path: Path) -> dict[str, Any]:
    """Record beside the tensors of a file."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        return json.loads((file.metadata() or {}).get("meta", "{}"))


@dataclass(frozen=True)
class ShellFigures:
    """Figures of one shell; None where a figure does not apply.

    Parameters
    ----------
    name : str
        Such as ``b1000``.
    n_volumes : int
    translated : bool
        Whether it went through the model; if not, it was interpolated only.
    nmse : float
        Of the output, brought back to the input's grid, against the input.
    bval, order, laplace_beltrami, snr : optional
        b in s/mm2, order of the harmonics, weight of their penalty, b0 over noise.
    gain : tuple of float
        Mean gain of the fit by order, which was divided out.
    bounded : tuple of float
        Fraction of voxels whose ratio was held by a bound, by order.
    difference, noise, beyond : tuple of float
        How far the output lies from the input, what noise alone makes of that, and in which
        part of the brain it is more than noise explains, by order; see
        :class:`dmri7t.signal.consistency.Departure`.
    reason : str
        Why it was interpolated only.
    novelty : dict
        Distance from the training data: score over the threshold, volume_ml above it, flagged;
        empty where the model cannot tell.
    expected : dict
        Forecast of the model's error over that of interpolation: ratio, low and high by map.
    """

    name: str
    n_volumes: int
    translated: bool
    nmse: float
    bval: float | None = None
    order: int | None = None
    laplace_beltrami: float | None = None
    snr: float | None = None
    gain: tuple[float, ...] = ()
    bounded: tuple[float, ...] = ()
    difference: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    beyond: tuple[float, ...] = ()
    reason: str = ""
    novelty: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """Figures of quality of one scan.

    Parameters
    ----------
    n_b0 : int
        Volumes that count as b0.
    nmse : dict
        Of the output, brought back to the input's grid, by group and for ``all``.
    snr : float
        b0 over noise, the lowest of the shells.
    shells : tuple of ShellFigures
    repaired : dict
        Counts of repaired values, by kind.
    outside_training : tuple of str
        Sentences that say where the input lies outside what the model was trained on.
    mask_volume_ml : float, optional
    tissues : dict
        Of :func:`dmri7t.signal.tissues.tissue_record`; empty without a segmentation.
    cleaning : dict
        What was taken out of the scan first: ``denoised``, ``gibbs``, ``noise_sd``; empty:
        nothing.
    """

    n_b0: int
    nmse: dict[str, float]
    snr: float
    shells: tuple[ShellFigures, ...]
    repaired: dict[str, int]
    outside_training: tuple[str, ...] = ()
    mask_volume_ml: float | None = None
    tissues: dict[str, Any] = field(default_factory=dict)
    cleaning: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Quality:
        """Read the record of :func:`dmri7t.signal.quality.quality_record`.

        Raises
        ------
        InputError
            If the file does not hold such a record.
        """
        try:
            record = json.loads(Path(path).read_text())
            return cls(
                n_b0=record["b0"]["n_volumes"],
                nmse=record["nmse"],
                snr=record["snr"],
                shells=tuple(_shell(row) for row in record["shells"]),
                repaired=record["repaired"],
                outside_training=tuple(record["outside_training"]),
                mask_volume_ml=record.get("mask_volume_ml"),
                tissues=record.get("tissues", {}),
                cleaning=record.get("cleaning", {}),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no record of quality ({type(error).__name__}: {error}); "
                "run the scan again."
            ) from error


def _shell(row: dict[str, Any]) -> ShellFigures:
    known = {name: row.get(name) for name in ("bval", "order", "laplace_beltrami", "snr")}
    return ShellFigures(
        name=row["name"],
        n_volumes=row["n_volumes"],
        translated=row["translated"],
        nmse=row["nmse"],
        gain=tuple(row.get("gain", ())),
        bounded=tuple(row.get("bounded", ())),
        reason=row.get("reason", ""),
        expected=row.get("expected", {}),
        novelty=row.get("novelty", {}),
        **{name: tuple(values) for name, values in row.get("consistency", {}).items()},
        **known,
    )


@dataclass(frozen=True)
class ModelCard:
    """A model in short.

    Parameters
    ----------
    name, version, sha256 : str
        The checksum is of the whole bundle.
    description : str
    trained_on : str
        What the model's own record says of its training data.
    ranges : dict
        Lowest and highest value of the training data, by name.
    figures : dict
        As in config.json: ``subjects`` and ``nmse`` by method and map. Empty where there is none.
    """

    name: str
    version: str
    sha256: str
    description: str = ""
    trained_on: str = ""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the training data were simulated, by the model's own word."""
        return "simulat" in self.trained_on.lower()

    @classmethod
    def read(cls, folder: str | Path, sha256: str) -> ModelCard:
        """Read a bundle's config.json.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        path = Path(folder) / "config.json"
        try:
            config = json.loads(path.read_text())
            training = config.get("training", {})
            return cls(
                name=config["name"],
                version=config["version"],
                sha256=sha256,
                description=config.get("description", ""),
                trained_on=str(training.get("source") or training.get("data") or ""),
                ranges={name: (low, high) for name, (low, high) in config["ranges"].items()},
                figures=config.get("figures") or {},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not a readable model description ({type(error).__name__}: {error}); "
                "copy the model's folder again."
            ) from error


@dataclass(frozen=True)
class NodeTime:
    """Run time of one node, in seconds; ``peak_gb`` is 0 where it was not measured."""

    name: str
    seconds: float
    state: str = "done"
    peak_gb: float = 0.0


def read_node_times(path: str | Path) -> tuple[NodeTime, ...]:
    """Nodes that have their result, from the status record of a participant.

    Raises
    ------
    InputError
        If the file does not hold such a record.
    """
    try:
        nodes = json.loads(Path(path).read_text())["nodes"]
        return tuple(
            NodeTime(node["name"], node["seconds"], node["state"], node.get("peak_gb", 0.0))
            for node in nodes
            if node["state"] in ("done", "cached", "earlier")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no record of a run ({type(error).__name__}: {error})."
        ) from error


def software_versions() -> dict[str, str]:
    """Versions of this package and of those it computes with; none is imported for it."""
    import platform

    versions = {"dmri7t": __version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class ScanReport:
    """One scan of a participant.

    Parameters
    ----------
    stem : str
        Name of the source without its suffix, such as ``sub-01_dir-AP``.
    before, after : ScanMaps
        On the input's and on the output's grid, whose axes are the same.
    quality : Quality
    methods : str
        Paragraphs, with citations in square brackets.
    source : str
        BIDS URI of the scan that came in.
    nodes : str
        Name with which this scan's nodes begin, such as ``dir_AP_wf``.
    kind : str
        What it came from: "raw", "qsiprep", "hcp", "derivative"; empty: unknown.
    """

    stem: str
    before: ScanMaps
    after: ScanMaps
    quality: Quality
    methods: str
    source: str = ""
    nodes: str = ""
    kind: str = ""


@dataclass(frozen=True)
class ParticipantReport:
    """All that a participant's page tells.

    Parameters
    ----------
    label : str
        Without ``sub-``.
    scans : tuple of ScanReport
    model : ModelCard
    settings : str
        TOML of the run.
    command : str
        Command line as it was given.
    nodes : tuple of NodeTime
    versions : dict
        Version by package; see :func:`software_versions`.
    left : tuple of str
        Why other scans of the participant could not be used.
    """

    label: str
    scans: tuple[ScanReport, ...]
    model: ModelCard
    settings: str
    command: str = ""
    nodes: tuple[NodeTime, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
