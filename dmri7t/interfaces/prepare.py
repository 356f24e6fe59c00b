"""A scan made ready: brain mask, mean b0, gradients, brain voxels; and the output's grid."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.errors import InputError
from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional
from dmri7t.signal.grids import Grid

_Indices = traits.List(traits.Int)


class PrepareScanInputSpec(StageInputSpec):
    """Inputs of :class:`PrepareScan`."""

    dwi = File(exists=True, mandatory=True, desc="4D image")
    bval = File(exists=True, mandatory=True, desc="b-values")
    bvec = File(exists=True, mandatory=True, desc="gradient vectors, FSL's convention")
    grad_b = File(exists=True, desc="gradients in the scanner frame (MRtrix)")
    mask = File(exists=True, desc="brain mask; default: one is found")
    b0_threshold = traits.Float(mandatory=True, desc="b-values up to this one are b0, s/mm2")
    shape = traits.List(traits.Int, desc="voxels of the image that the graph was planned for")
    affine = traits.List(traits.Float, desc="its affine, 16 numbers by rows")
    groups = traits.List(_Indices, desc="its volumes: b0, then shell by shell")


class PrepareScanOutputSpec(TraitedSpec):
    """Outputs of :class:`PrepareScan`."""

    dwi = File(exists=True, desc="(volumes, voxels) .npy of the brain, float32")
    b0 = File(exists=True, desc="mean b0")
    mask = File(exists=True, desc="brain mask on the input's grid")
    gradients = File(exists=True, desc="bvals (N,), directions (N, 3) in the scanner frame, .npz")
    checks = File(exists=True, desc="values repaired and size of the mask, .json")


class PrepareScan(StageInterface):
    """Read a scan once; find the brain; keep its voxels."""

    input_spec = PrepareScanInputSpec
    output_spec = PrepareScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import create_array
        from dmri7t.io.maps import save_map
        from dmri7t.io.opened import open_scan
        from dmri7t.io.scan import ScanFiles
        from dmri7t.signal.prepare import lost_volumes

        inputs = self.inputs
        files = ScanFiles(
            inputs.dwi, inputs.bval, inputs.bvec, optional(inputs.grad_b), optional(inputs.mask)
        )
        names = {
            "dwi": "dwi.npy",
            "b0": "b0.nii",
            "mask": "mask.nii",
            "gradients": "gradients.npz",
            "checks": "checks.json",
        }
        out = {field: os.path.join(runtime.cwd, name) for field, name in names.items()}
        with open_scan(files, inputs.b0_threshold, scratch=runtime.cwd) as scan:
            groups = [scan.b0_indices, *(shell.indices for shell in scan.shells)]
            self._check_planned(scan.grid, groups)
            brain, table = scan.brain, scan.table
            dwi_NV = create_array(out["dwi"], (scan.n_volumes, brain.n_voxels))
            checks: dict[str, Any] = {**scan.read_into(dwi_NV)}
            self._check_volumes(lost_volumes(dwi_NV, groups), table.bvals)
            dwi_NV.flush()
            save_map(out["b0"], scan.b0, brain.grid)
        save_map(out["mask"], brain.mask, brain.grid)
        np.savez(out["gradients"], bvals=table.bvals, directions=table.directions)
        checks["mask_volume_ml"] = float(brain.n_voxels * np.prod(brain.voxel_sizes) / 1000)
        if cleaning := optional(getattr(inputs, "cleaning", None)):
            with open(cleaning) as file:
                checks["cleaning"] = json.load(file)
        with open(out["checks"], "w") as file:
            json.dump(checks, file)
        self._results = out
        return runtime

    def _check_volumes(self, lost: list[int], bvals: np.ndarray) -> None:
        """Refuse a scan with volumes that hold nothing: in every fit they would be signal."""
        if not lost:
            return
        few = ", ".join(f"{i} (b = {bvals[i]:g})" for i in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise InputError(
            f"{self.inputs.dwi}: no signal in the brain in volume {few}{more}, counted from 0: "
            "zero, constant, no numbers, or hardly anything beside others of the b-value; leave "
            "such out with --exclude-volumes, or convert the scan again"
        )

    def _check_planned(self, grid: Grid, groups: list[tuple[int, ...]]) -> None:
        """Hold what arrived against what the graph was planned for, before either is wrong."""
        inputs = self.inputs
        shape, affine = list(grid.shape), grid.affine.ravel()
        # a list that was not set is empty
        planned = inputs.shape or shape, inputs.affine or affine
        if shape != planned[0] or not np.allclose(affine, planned[1], atol=1e-3):
            raise InputError(
                f"{inputs.dwi}: lies on another grid than the graph was planned for (voxels "
                f"{shape} and {planned[0]}); plan the scan on the grid that it will have"
            )
        arrived = [list(rows) for rows in groups]
        if arrived != (inputs.groups or arrived):
            raise InputError(
                f"{inputs.bval}: its b0s and shells are other volumes than the graph was planned "
                "for; plan the scan with the b-values that it will have"
            )


class PrepareCleanedInputSpec(PrepareScanInputSpec):
    """Inputs of :class:`PrepareCleaned`."""

    cleaning = File(exists=True, mandatory=True, desc="what was done to the scan before, .json")


class PrepareCleaned(PrepareScan):
    """The same for a scan that comes from :class:`dmri7t.interfaces.clean.CleanScan`."""

    input_spec = PrepareCleanedInputSpec


class DefineGridInputSpec(StageInputSpec):
    """Inputs of :class:`DefineGrid`."""

    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    shape = traits.List(traits.Int, mandatory=True, desc="voxels of the output's grid")
    affine = traits.List(traits.Float, mandatory=True, desc="its affine, 16 numbers by rows")


class DefineGridOutputSpec(TraitedSpec):
    """Outputs of :class:`DefineGrid`."""

    mask_out = File(exists=True, desc="brain mask on the output's grid")


class DefineGrid(StageInterface):
    """Bring the brain mask to the output's grid; the mask carries that grid from here on."""

    input_spec = DefineGridInputSpec
    output_spec = DefineGridOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.maps import load_mask, save_map
        from dmri7t.signal.resample import resample_mask

        self._pin_threads()
        mask_XYZ, grid = load_mask(self.inputs.mask)
        affine = np.reshape(self.inputs.affine, (4, 4))
        grid_out = Grid(tuple(self.inputs.shape), affine)
        path = os.path.join(runtime.cwd, "mask_out.nii")
        save_map(path, resample_mask(mask_XYZ, grid, grid_out), grid_out)
        self._results["mask_out"] = path
        return runtime
