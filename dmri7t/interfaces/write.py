"""Results under their final names: whole or not at all, each beside its sidecar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.files import strict_json, write_whole
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
        turn = turn_to(grid) if self.inputs.lps else None
        return turn, turn.grid if turn else grid

    def _finish(self) -> None:
        self._results["out_files"] = [str(self._path(name)) for name in self.targets()]


def _sidecar_name(name: str) -> str:
    return name.removesuffix(".nii.gz") + ".json"


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_whole(path, strict_json(record))


class WriteDWIInputSpec(WriteInputSpec):
    """Inputs of :class:`WriteDWI`."""

    dwi = File(exists=True, mandatory=True, desc="(volumes, voxels) .npy")
    mask = File(exists=True, mandatory=True, desc="mask of the voxels, on their grid")
    gradients = File(exists=True, mandatory=True, desc="gradient table, .npz")
    representations = InputMultiPath(
        File(exists=True), mandatory=True, desc="of the translated shells, for the sidecar"
    )
    quality = File(exists=True, mandatory=True, desc="quality metrics, .json, for the sidecar")
    repetition_time = traits.Float(0.0, usedefault=True, desc="seconds from volume to volume")
    out_file = traits.Str(mandatory=True, desc="name of the .nii.gz in the data set")
    mrtrix_table = traits.Bool(False, usedefault=True, desc="write MRtrix's .b, too")


class WriteDWI(WriteStage):
    """Write a 4D image with bval, bvec and sidecar, and MRtrix's table where it is asked for."""

    input_spec = WriteDWIInputSpec

    def targets(self) -> list[str]:
        stem = self.inputs.out_file.removesuffix(".nii.gz")
        ends = [".bval", ".bvec", ".json", *([".b"] if self.inputs.mrtrix_table else [])]
        return [self.inputs.out_file, *(stem + end for end in ends)]

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_meta, open_array
        from dmri7t.io.gradients import write_fsl, write_mrtrix
        from dmri7t.io.images import masked_volumes, write_volumes
        from dmri7t.io.maps import load_mask
        from dmri7t.signal.gradients import GradientTable

        inputs = self.inputs
        image, bval, bvec, sidecar, *grad_b = (self._path(name) for name in self.targets())
        mask_XYZ, grid = load_mask(inputs.mask)
        turn, grid = self._turned(grid)
        dwi_NV = open_array(inputs.dwi)
        write_volumes(
            image,
            masked_volumes(dwi_NV, mask_XYZ, turn),
            (*grid.shape, len(dwi_NV)),
            grid.affine,
            threads=inputs.num_threads,
            repetition_time=inputs.repetition_time,
        )
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
        _write_json(sidecar, {**inputs.sidecar, "SphericalHarmonicFits": shells, **training})
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
            )
            _write_json(self._path(_sidecar_name(name)), dict(inputs.sidecar))
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
