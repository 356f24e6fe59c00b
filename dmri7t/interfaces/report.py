"""The report of a participant, and what it needs to know of every scan."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, isdefined, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, content_hash
from dmri7t.interfaces.write import WriteOutputSpec, WriteStage
from dmri7t.models.config import read_config

if TYPE_CHECKING:
    from dmri7t.reports import ModelCard, ScanMaps, ScanReport, SignalRows
    from dmri7t.reports.records import Tracts

FILES = (
    "mask",
    "mask_out",
    "b0",
    "b0_out",
    "representations",
    "generated",
    "novelty",
    "tensor_native",
    "tensor_generated",
    "quality",
    "departures",
    "dwi",
    "dwi_out",
    "gradients",
    "anisotropy_sd",
)
"""Files of a scan that the report draws from."""

WORDS = ("stem", "source", "methods", "workflow", "kind", "remarks", "groups")
"""What the report says of a scan beside its files."""


class GatherScanInputSpec(StageInputSpec):
    """Inputs of :class:`GatherScan`."""

    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    mask_out = File(exists=True, mandatory=True, desc="brain mask on the output's grid")
    b0 = File(exists=True, mandatory=True, desc="mean b0 on the input's grid")
    b0_out = File(exists=True, mandatory=True, desc="mean b0 on the output's grid")
    representations = InputMultiPath(File(exists=True), desc="of the translated shells")
    generated = InputMultiPath(File(exists=True), desc="generated RISH of the same shells")
    novelty = InputMultiPath(File(exists=True), desc="how unlike training the same shells are")
    tensor_native = File(exists=True, desc="tensor maps of the input")
    tensor_generated = File(exists=True, desc="tensor maps of the output")
    absent = traits.List(
        traits.Str, usedefault=True, desc="which of these files the scan does not have"
    )
    quality = File(exists=True, mandatory=True, desc="quality metrics, .json")
    departures = File(exists=True, mandatory=True, desc="from the input, by shell, .safetensors")
    dwi = File(exists=True, mandatory=True, desc="the input, (volumes, voxels) .npy")
    dwi_out = File(exists=True, mandatory=True, desc="the output, (volumes, voxels) .npy")
    gradients = File(exists=True, mandatory=True, desc="gradient table of the scan, .npz")
    anisotropy_sd = File(exists=True, desc="standard deviation of the error of FA")
    written = InputMultiPath(
        File(exists=True), mandatory=True, nohash=True, desc="results, so that all are there"
    )
    stem = traits.Str(mandatory=True, desc="source entities joined")
    source = traits.Str(mandatory=True, desc="BIDS URI of the source")
    methods = traits.Str(mandatory=True, desc="methods text")
    workflow = traits.Str(mandatory=True, desc="name of the scan's workflow")
    kind = traits.Str("", usedefault=True, desc="kind of input that it comes from")
    remarks = traits.List(
        traits.Str, usedefault=True, desc="what header and sidecar say that nobody would expect"
    )
    groups = traits.Dict(mandatory=True, desc="volumes of b0 and of every shell, by name")


class GatherScanOutputSpec(TraitedSpec):
    """Outputs of :class:`GatherScan`."""

    manifest = File(exists=True, desc="names and checksums of the files, and words, .json")


class GatherScan(StageInterface):
    """List the files of a scan in one file, which changes when any of them does.

    Names are relative, so that a work folder that was moved is the same.
    """

    input_spec = GatherScanInputSpec
    output_spec = GatherScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        files = {}
        for field in FILES:
            value = getattr(inputs, field)
            if isdefined(value) == (field in inputs.absent):
                raise ValueError(f"GatherScan requires a value for {field}, unless it is absent")
            paths = [] if field in inputs.absent else value if isinstance(value, list) else [value]
            files[field] = [
                {"path": os.path.relpath(path, runtime.cwd), "sha256": content_hash(path)}
                for path in paths
            ]
        words = {name: getattr(inputs, name) for name in WORDS}
        path = os.path.join(runtime.cwd, "manifest.json")
        with open(path, "w") as file:
            json.dump({**words, "files": files}, file, indent=2)
        self._results["manifest"] = path
        return runtime


@attrs.frozen
class Manifest:
    """What :class:`GatherScan` wrote.

    Parameters
    ----------
    stem, source, methods, workflow, kind : str
        See the inputs of :class:`GatherScan`.
    remarks : list of str
        The same.
    groups : dict
        Volumes of b0 and of every shell, by name.
    files : dict
        Absolute paths by field, of :data:`FILES`.
    """

    stem: str
    source: str
    methods: str
    workflow: str
    kind: str
    remarks: list[str]
    groups: dict[str, list[int]]
    files: dict[str, list[Path]]

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read it; paths are absolute again."""
        record = json.loads(Path(path).read_text())
        folder = Path(path).parent
        files = {
            field: [(folder / file["path"]).resolve() for file in listed]
            for field, listed in record.pop("files").items()
        }
        return cls(**record, files=files)

    def file(self, field: str) -> Path:
        """The one file of a field."""
        (path,) = self.files[field]
        return path

    def optional(self, field: str) -> Path | None:
        """The one file of a field, or None."""
        return self.file(field) if self.files[field] else None

    def signal_rows(self, field: str) -> SignalRows | None:
        """The shell of which signals are shown: the one with most volumes; None without any."""
        from dmri7t.reports import SignalRows

        shells = [rows for name, rows in self.groups.items() if name != "b0"]
        if not shells:
            return None
        rows = max(shells, key=len)
        bvals = np.load(self.file("gradients"))["bvals"]
        return SignalRows(self.file(field), tuple(rows), float(np.median(bvals[rows])))


class WriteReportInputSpec(StageInputSpec):
    """Inputs of :class:`WriteReport`."""

    manifests = InputMultiPath(File(exists=True), mandatory=True, desc="of every scan")
    label = traits.Str(mandatory=True, desc="of the participant")
    settings = traits.Str(mandatory=True, nohash=True, desc="settings of the run as TOML")
    settings_sha256 = traits.Str(mandatory=True, desc="digest of what decides results")
    model = traits.Str(mandatory=True, nohash=True, desc="folder of the model")
    model_sha256 = traits.Str(mandatory=True, desc="checksum of the model")
    out_dir = traits.Str(mandatory=True, nohash=True, desc="derivative data set")
    command = traits.Str("", usedefault=True, nohash=True, desc="command line of the run")
    skipped = traits.List(traits.Str, usedefault=True, desc="why other scans could not be used")
    tractography = traits.Bool(False, usedefault=True, desc="count peaks and streamlines")


def _model_card(folder: str, sha256: str) -> ModelCard:
    """Take from a model's description what its report says."""
    from dmri7t import reports

    config, metrics = read_config(folder), None
    if config.metrics is not None:
        nmse: dict[str, dict[str, tuple[float, float | None]]] = {
            method: {name: (spread.mean, spread.sd) for name, spread in maps.items()}
            for method, maps in config.metrics.nmse.items()
        }
        metrics = reports.ModelMetrics(config.metrics.subjects, nmse)
    return reports.ModelCard(
        name=config.name,
        version=config.version,
        sha256=sha256,
        description=config.description,
        trained_on=config.training.source,
        ranges={str(name): pair for name, pair in config.ranges.items()},
        metrics=metrics,
    )


class WriteReport(WriteStage):
    """Write the HTML report of a participant."""

    input_spec = WriteReportInputSpec
    output_spec = WriteOutputSpec

    def targets(self) -> list[str]:
        return [f"sub-{self.inputs.label}.html"]

    def _is_there(self, path: Path) -> bool:
        """Whether the page is there with all of its pictures."""
        from dmri7t import reports

        return path.is_file() and all(p.is_file() for p in reports.page_pictures(path))

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t import reports

        inputs = self.inputs
        # the participant's record lies beside this node's folder; without it no times are shown
        status = Path(runtime.cwd).parent / "status.json"
        report = reports.ParticipantReport(
            label=inputs.label,
            scans=tuple(self._scan(path) for path in inputs.manifests),
            model=_model_card(inputs.model, inputs.model_sha256),
            settings=inputs.settings,
            command=inputs.command,
            skipped=tuple(inputs.skipped),
            nodes=reports.read_node_times(status) if status.exists() else (),
            versions=reports.software_versions(),
        )
        written = reports.write_report(report, Path(inputs.out_dir))
        self._results["out_files"] = [str(path) for path in written]
        return runtime

    def _scan(self, path: str) -> ScanReport:
        """What the report draws and says of a scan."""
        from dmri7t import reports

        manifest = Manifest.read(path)
        one, several = manifest.file, manifest.files
        quality = reports.QualityRecord.read(one("quality"))
        before = reports.input_maps(
            one("mask"),
            one("b0"),
            several["representations"],
            manifest.optional("tensor_native"),
            one("departures"),
            several["novelty"],
            manifest.signal_rows("dwi"),
        )
        after = reports.output_maps(
            one("mask_out"),
            one("b0_out"),
            several["generated"],
            manifest.optional("tensor_generated"),
            manifest.optional("anisotropy_sd"),
            manifest.signal_rows("dwi_out"),
        )
        return reports.ScanReport(
            stem=manifest.stem,
            before=before,
            after=after,
            quality=quality,
            methods=manifest.methods,
            source=manifest.source,
            workflow=manifest.workflow,
            kind=manifest.kind,
            remarks=tuple(manifest.remarks),
            tracts=self._tracts(manifest, before, after),
        )

    def _tracts(self, manifest: Manifest, before: ScanMaps, after: ScanMaps) -> Tracts | None:
        """Peaks and streamlines, where they are asked for."""
        if not self.inputs.tractography:
            return None
        from dmri7t.reports.tracts import compare_tracts

        directions = np.load(manifest.file("gradients"))["directions"]
        return compare_tracts(before, after, directions)
