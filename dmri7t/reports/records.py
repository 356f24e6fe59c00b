"""What a participant's page is made from: plain records, read from a run's own files."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import attrs

from dmri7t import __version__
from dmri7t.errors import InputError
from dmri7t.reports.maps import ScanMaps
from dmri7t.reports.quality import QualityRecord

THUMBNAIL = "thumbnail"
"""In the names of the pictures of FA that the group's page shows."""

PACKAGES = ("numpy", "scipy", "nibabel", "dipy", "torch", "monai", "nipype", "pybids")
"""Packages whose versions the page lists, where they are installed."""


@attrs.frozen
class ModelMetrics:
    """The model's own record of its error.

    Parameters
    ----------
    subjects : int
        Test subjects.
    nmse : dict of dict of (float, float)
        Mean over them, and standard deviation, None of a single one; by method and map.
    """

    subjects: int
    nmse: dict[str, dict[str, tuple[float, float | None]]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Maps of all methods, in order."""
        return tuple(dict.fromkeys(name for maps in self.nmse.values() for name in maps))


@attrs.frozen
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
    metrics : ModelMetrics, optional
    """

    name: str
    version: str
    sha256: str
    description: str = ""
    trained_on: str = ""
    ranges: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    metrics: ModelMetrics | None = None

    @property
    def simulated(self) -> bool:
        """Whether the training data were simulated, by the model's own record."""
        return "simulat" in self.trained_on.lower()


@attrs.frozen
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
            f"{path}: not a readable record of a run ({type(error).__name__}: {error}); delete it."
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


@attrs.frozen
class TractCounts:
    """Peaks and streamlines of one side.

    Parameters
    ----------
    peaks : tuple of three floats
        Part of the white matter with one, two, and three or more peaks.
    streamlines : int
    median_mm : float
        Of their lengths; 0 without any.
    """

    peaks: tuple[float, float, float]
    streamlines: int
    median_mm: float


@attrs.frozen
class Tracts:
    """Peaks and streamlines of both sides, from the same voxels and seeds.

    Parameters
    ----------
    seeds : int
    least_mm : float
        Length from which on a streamline counts.
    before, after : TractCounts
    """

    seeds: int
    least_mm: float
    before: TractCounts
    after: TractCounts

    @property
    def sides(self) -> tuple[tuple[str, TractCounts], ...]:
        """Both, with their names."""
        return (("3T input", self.before), ("7T-like output", self.after))


@attrs.frozen
class ScanReport:
    """One scan of a participant.

    Parameters
    ----------
    stem : str
        Name of the source without its suffix, such as ``sub-01_dir-AP``.
    before, after : ScanMaps
        On the input's and on the output's grid, whose axes are the same.
    quality : QualityRecord
    methods : str
        Paragraphs, with citations in square brackets.
    source : str
        BIDS URI of the scan that came in.
    workflow : str
        Name of this scan's workflow, with which the names of its nodes begin.
    kind : str
        Name of the kind of input that it came from, see :mod:`dmri7t.io.kinds`; empty: unknown.
    remarks : tuple of str
        What its header and sidecar say that nobody would expect.
    tracts : Tracts, optional
        None where they were not asked for, or cannot be counted.
    """

    stem: str
    before: ScanMaps
    after: ScanMaps
    quality: QualityRecord
    methods: str
    source: str = ""
    workflow: str = ""
    kind: str = ""
    remarks: tuple[str, ...] = ()
    tracts: Tracts | None = None


@attrs.frozen
class ParticipantReport:
    """Everything on a participant's page.

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
    skipped : tuple of str
        Why other scans of the participant could not be used.
    """

    label: str
    scans: tuple[ScanReport, ...]
    model: ModelCard
    settings: str
    command: str = ""
    nodes: tuple[NodeTime, ...] = ()
    versions: dict[str, str] = attrs.field(factory=dict)
    skipped: tuple[str, ...] = ()
