"""Results under their final names: whole or not at all, each beside its sidecar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.files import place_file, strict_json, write_whole
from dmri7t.interfaces.base import StageInputSpec, StageInterface
from dmri7t.io.orientation import Turn, turn_to
from dmri7t.signal.grids import Grid

DIGEST = "SettingsSHA256"
"""Key of every sidecar: tells a result of these settings from one of others."""


class WriteInputSpec(StageInputSpec):
    """Inputs of every writer."""

    # another folder is no reason to compute anew; that a result is missing there is
    out_dir = traits.Str(mandatory=True, nohash=True, desc="derivative data set")
    sidecar = traits.Dict(mandatory=True, desc="what the JSON file beside the result says")
    lps = traits.Bool(
        False, usedefault=True, desc="write images with axes to the left, the back and the top"
    )
    # so that a scan whose run fails leaves nothing half done behind
    wait_for = InputMultiPath(
        File(exists=True), mandatory=True, nohash=True, desc="what must be there before"
    )


class WriteOutputSpec(TraitedSpec):
    """Outputs of every writer."""

    out_files = traits.List(File(exists=True), desc="what was written")


class WriteStage(StageInterface):
    """A stage that writes into the derivative data set, and again if its files are gone."""

    output_spec = WriteOutputSpec

    @property
    def always_run(self) -> bool:
        """Whether the files are missing or stem from other settings."""
        return not all(self._is_there(Path(self.inputs.out_dir) / n) for n in self.targets())

    def targets(self) -> list[str]:
        """Files that it writes, relative to the data set."""
        raise NotImplementedError

    def _is_there(self, path: Path) -> bool:
        if not path.is_file():
            return False
        if path.suffix != ".json":
            return True
        try:
            return json.loads(path.read_text()).get(DIGEST) == self.inputs.sidecar.get(DIGEST)
        except (OSError, ValueError, AttributeError):
            return False

    def _path(self, name: str) -> Path:
        return Path(self.inputs.out_dir) / name

    def _turned(self, grid: Grid) -> tuple[Turn | None, Grid]:
        """How axes are turned for writing (None: they are not), and the grid that is written."""
        return _turned(grid, self.inputs.lps)

    def _finish(self) -> None:
        self._results["out_files"] = [str(self._path(name)) for name in self.targets()]


def _turned(grid: Grid, lps: bool) -> tuple[Turn | None, Grid]:
    turn = turn_to(grid) if lps else None
    return turn, turn.grid if turn else grid


def _sidecar_name(name: str) -> str:
    return name.removesuffix(".nii.gz") + ".json"


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_whole(path, strict_json(record))


class CompressDWIInputSpec(StageInputSpec):
    """Inputs of :class:`CompressDWI`."""

    dwi = File(exists=True, mandatory=True, desc="(volumes, voxels) .npy")
    mask = File(exists=True, mandatory=True, desc="mask of the voxels, on their grid")
    lps = traits.Bool(False, usedefault=True, desc="axes to the left, the back and the top")
    repetition_time = traits.Float(0.0, usedefault=True, desc="seconds from volume to volume")


class CompressDWIOutputSpec(TraitedSpec):
    """Outputs of :class:`CompressDWI`."""

    image = File(exists=True, desc="4D image, .nii.gz")


class CompressDWI(StageInterface):
    """Make a 4D image of a scan, which :class:`WriteDWI` then has but to place."""

    input_spec = CompressDWIInputSpec
    output_spec = CompressDWIOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import open_array
        from dmri7t.io.images import masked_volumes, write_volumes
        from dmri7t.io.maps import load_mask

        inputs = self.inputs
        mask_XYZ, grid = load_mask(inputs.mask)
        turn, grid = _turned(grid, inputs.lps)
        dwi_NV = open_array(inputs.dwi)
        path = Path(runtime.cwd) / "dwi.nii.gz"
        write_volumes(
            path,
            masked_volumes(dwi_NV, mask_XYZ, turn),
            (*grid.shape, len(dwi_NV)),
            grid.affine,
            threads=inputs.num_threads,
            repetition_time=inputs.repetition_time,
        )
        self._results["image"] = str(path)
        return runtime


class WriteDWIInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteDWI`."""

    image = File(exists=True, mandatory=True, desc="from CompressDWI")
    mask = File(exists=True, mandatory=True, desc="mask of the voxels, on their grid")
    gradients = File(exists=True, mandatory=True, desc="gradient table, .npz")
    representations = InputMultiPath(
        File(exists=True), mandatory=True, desc="of the translated shells, for the sidecar"
    )
    quality = File(exists=True, mandatory=True, desc="quality metrics, .json, for the sidecar")
    out_file = traits.Str(mandatory=True, desc="name of the .nii.gz in the data set")
    mrtrix_table = traits.Bool(False, usedefault=True, desc="write MRtrix's .b, too")


def _describe_evidence(shell: dict[str, Any]) -> dict[str, Any]:
    """What a sidecar says of filter and model in a shell's result; see docs/outputs.rst."""
    evidence = shell["evidence"]
    of_filter, of_model = evidence["shares"]
    described = {
        "BValue": shell["bval"],
        "FilterShares": of_filter,
        "ModelShares": of_model,
        "RISHShares": evidence.get("rish_shares") or of_model,
    }
    if evidence["reason"]:
        return described | {"NotMeasured": evidence["reason"]}
    ratios = {error["name"]: error["ratio"] for error in evidence["errors"]}
    described |= {"HeldOutError": ratios["result"]} if ratios else {}
    coarser = {error["name"]: error["ratio"] for error in evidence.get("coarser", ())}
    if coarser:
        described |= {
            "CoarserBy": evidence["factor"],
            "HeldOutErrorCoarser": coarser["result"],
        }
    return described


class WriteDWI(WriteStage):
    """Write a 4D image with bval, bvec and sidecar, and MRtrix's table where it is asked for."""

    input_spec = WriteDWIInputSpec

    def targets(self) -> list[str]:
        stem = self.inputs.out_file.removesuffix(".nii.gz")
        ends = [".bval", ".bvec", ".json", *([".b"] if self.inputs.mrtrix_table else [])]
        return [self.inputs.out_file, *(stem + end for end in ends)]

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_meta
        from dmri7t.io.gradients import write_fsl, write_mrtrix
        from dmri7t.io.maps import load_mask
        from dmri7t.signal.gradients import GradientTable

        inputs = self.inputs
        image, bval, bvec, sidecar, *grad_b = (self._path(name) for name in self.targets())
        place_file(inputs.image, image)
        _, grid = self._turned(load_mask(inputs.mask)[1])
        gradients = np.load(inputs.gradients)
        table = GradientTable(gradients["bvals"], gradients["directions"])
        write_fsl(table, grid.affine, bval, bvec)
        for path in grad_b:
            write_mrtrix(table, path)
        fitted = [load_meta(path) for path in inputs.representations]
        shells = [
            {
                "BValue": shell["bval"],
                "Directions": shell["n_directions"],
                "Order": shell["order"],
                "LaplaceBeltrami": shell["laplace_beltrami"],
                "GainCorrected": shell["gain"],
            }
            for shell in fitted
        ]
        quality = json.loads(Path(inputs.quality).read_text())
        training = {
            "ComparedWithTraining": quality["compared"],
            "OutsideTraining": quality["flagged"],
            "OutsideTrainingReasons": quality["outside_training"],
        }
        parts = [
            {"Source": part["source"], "Volumes": part["volumes"], "Scale": part["scale"]}
            for part in quality.get("joined", [])
        ]
        fits = {"SphericalHarmonicFits": shells} if shells else {}
        weighed = [
            _describe_evidence(shell)
            for shell in quality.get("shells", ())
            if shell.get("evidence")
        ]
        fits |= {"Weighing": weighed} if weighed else {}
        joined = {"JoinedParts": parts} if parts else {}
        _write_json(sidecar, {**inputs.sidecar, **joined, **fits, **training})
        self._finish()
        return runtime


class WriteMapsInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteMaps`."""

    sources = InputMultiPath(
        File(exists=True), mandatory=True, desc=".safetensors, one a shell where maps are stacked"
    )
    mask = File(exists=True, mandatory=True, desc="mask of the voxels, on their grid")
    maps = traits.Dict(
        mandatory=True, desc="by name in the data set: tensor, and its row (-1: it has no rows)"
    )
    own = traits.Dict(
        {}, usedefault=True, desc="by name in the data set: what that sidecar alone says"
    )
    stacked = traits.Bool(mandatory=True, desc="whether the 4th dimension runs over the sources")


class WriteMaps(WriteStage):
    """Write voxel-wise values as images with sidecars."""

    input_spec = WriteMapsInputSpec

    def targets(self) -> list[str]:
        return [file for name in self.inputs.maps for file in (name, _sidecar_name(name))]

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_tensors
        from dmri7t.io.images import masked_volumes, write_volumes
        from dmri7t.io.maps import load_mask

        inputs = self.inputs
        mask_XYZ, grid = load_mask(inputs.mask)
        turn, grid = self._turned(grid)
        sources = [load_tensors(path)[0] for path in inputs.sources]
        shape = (*grid.shape, len(sources)) if inputs.stacked else grid.shape
        for name, (field, row) in inputs.maps.items():
            rows = [s[field] if row < 0 else s[field][row] for s in sources]
            write_volumes(
                self._path(name),
                masked_volumes((values.float().numpy() for values in rows), mask_XYZ, turn),
                shape,
                grid.affine,
                threads=inputs.num_threads,
                # shells do not follow in time, but a fourth dimension without a step is taken for a
                # broken header
                repetition_time=1.0,
            )
            own = inputs.own.get(name, {})
            _write_json(self._path(_sidecar_name(name)), {**inputs.sidecar, **own})
        self._finish()
        return runtime


class WriteMaskInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteMask`."""

    mask = File(exists=True, mandatory=True, desc="mask")
    out_file = traits.Str(mandatory=True, desc="name of the .nii.gz in the data set")


class WriteMask(WriteStage):
    """Write a mask with its sidecar."""

    input_spec = WriteMaskInputSpec

    def targets(self) -> list[str]:
        return [self.inputs.out_file, _sidecar_name(self.inputs.out_file)]

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.images import write_volumes
        from dmri7t.io.maps import load_mask

        mask_XYZ, grid = load_mask(self.inputs.mask)
        turn, grid = self._turned(grid)
        inside = turn.volume(mask_XYZ) if turn else mask_XYZ
        image, sidecar = (self._path(name) for name in self.targets())
        write_volumes(image, [inside.astype(np.uint8)], grid.shape, grid.affine, dtype=np.uint8)
        _write_json(sidecar, dict(self.inputs.sidecar))
        self._finish()
        return runtime


class WriteReferenceInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteReference`."""

    volume = File(exists=True, mandatory=True, desc="one volume, zero outside the mask")
    out_file = traits.Str(mandatory=True, desc="name of the .nii.gz in the data set")


class WriteReference(WriteStage):
    """Write one volume with its sidecar."""

    input_spec = WriteReferenceInputSpec

    def targets(self) -> list[str]:
        return [self.inputs.out_file, _sidecar_name(self.inputs.out_file)]

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.images import write_volumes
        from dmri7t.io.maps import load_map

        volume_XYZ, grid = load_map(self.inputs.volume)
        turn, grid = self._turned(grid)
        image, sidecar = (self._path(name) for name in self.targets())
        written = turn.volume(volume_XYZ) if turn else volume_XYZ
        write_volumes(image, [written], grid.shape, grid.affine)
        _write_json(sidecar, dict(self.inputs.sidecar))
        self._finish()
        return runtime


class WriteQualityInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteQuality`."""

    quality = File(exists=True, mandatory=True, desc="quality metrics, .json")
    table = File(exists=True, mandatory=True, desc="the same as a table, .tsv")
    # names the model's folder; what decides results is in the sidecar's digest
    settings = traits.Str(mandatory=True, nohash=True, desc="settings of the run as TOML")
    out_json = traits.Str(mandatory=True, desc="name in the data set")
    out_tsv = traits.Str(mandatory=True, desc="name in the data set")
    out_toml = traits.Str(mandatory=True, desc="name in the data set")


class WriteQuality(WriteStage):
    """Write quality metrics and the settings that led to them."""

    input_spec = WriteQualityInputSpec

    def targets(self) -> list[str]:
        return [self.inputs.out_json, self.inputs.out_tsv, self.inputs.out_toml]

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        record = json.loads(Path(inputs.quality).read_text())
        _write_json(self._path(inputs.out_json), {**inputs.sidecar, **record})
        write_whole(self._path(inputs.out_tsv), Path(inputs.table).read_text())
        write_whole(self._path(inputs.out_toml), inputs.settings)
        self._finish()
        return runtime
