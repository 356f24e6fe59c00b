"""A scan made ready: brain mask, mean b0, gradients, brain voxels; and the output's grid."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.errors import InputError
from dmri7t.interfaces.base import StageInputSpec, StageInterface, named_as, optional
from dmri7t.signal.grids import Grid

_Indices = traits.List(traits.Int)

MOST_NEGATIVE = 0.4
"""Part of the weighted values in the brain that may lie below zero: of magnitudes none do, of what
other programs denoised some, and of real parts at high b-values more; of a phase half."""


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
    parts = traits.List(
        traits.Tuple(traits.Str, _Indices),
        nohash=True,
        desc="images that it was made of, each with the volumes that are used; default: dwi",
    )


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
        parts = optional(self.inputs.parts) or [(self.inputs.dwi, [])]
        with named_as(self.inputs.dwi, parts[0][0]):
            self._results = self._prepare(runtime.cwd)
        return runtime

    def _prepare(self, folder: str) -> dict[str, str]:
        from dmri7t.io.arrays import create_array
        from dmri7t.io.maps import save_map
        from dmri7t.io.opened import open_scan
        from dmri7t.io.scan import ScanFiles
        from dmri7t.signal.prepare import bright_volumes, lost_volumes

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
        out = {field: os.path.join(folder, name) for field, name in names.items()}
        with open_scan(files, inputs.b0_threshold, scratch=folder) as scan:
            groups = [scan.b0_indices, *(shell.indices for shell in scan.shells)]
            self._check_planned(scan.grid, groups)
            brain, table = scan.brain, scan.table
            dwi_NV = create_array(out["dwi"], (scan.n_volumes, brain.n_voxels))
            checks: dict[str, Any] = {**scan.read_into(dwi_NV, inputs.num_threads)}
            n_weighted = max(scan.n_volumes - scan.n_b0, 1)
            self._check_magnitudes(checks["negative"] / (n_weighted * brain.n_voxels))
            self._check_volumes(lost_volumes(dwi_NV, groups), table.bvals)
            self._check_scale(bright_volumes(dwi_NV, groups), table.bvals)
            dwi_NV.flush()
            save_map(out["b0"], scan.b0, brain.grid)
        save_map(out["mask"], brain.mask, brain.grid)
        np.savez(out["gradients"], bvals=table.bvals, directions=table.directions)
        checks["mask_volume_ml"] = float(brain.n_voxels * np.prod(brain.voxel_sizes) / 1000)
        for before in ("joined", "cleaning"):
            if path := optional(getattr(inputs, before, None)):
                with open(path) as file:
                    checks[before] = json.load(file)
        with open(out["checks"], "w") as file:
            json.dump(checks, file)
        return out

    def _check_magnitudes(self, negative: float) -> None:
        """Refuse what are no magnitudes: a phase has as many values below zero as above."""
        if negative > MOST_NEGATIVE:
            raise InputError(
                f"{self.inputs.dwi}: as many of its values in the brain are below zero as of a "
                f"phase ({100 * negative:.0f} % of the weighted ones); give the magnitudes"
            )

    def _check_volumes(self, lost: list[int], bvals: np.ndarray) -> None:
        """Refuse a scan with volumes that hold nothing: in every fit they would be signal."""
        if not lost:
            return
        if len(lost) == len(bvals):
            raise InputError(
                f"{self.inputs.dwi}: no volume holds signal in the brain: all are zero, constant "
                "or no numbers there; convert the scan again, or give another brain mask"
            )
        raise InputError(
            f"{self.inputs.dwi}: no signal in the brain in volume {self._name(lost, bvals)}, "
            "counted from 0: zero, constant, no numbers, or hardly anything beside others of the "
            "b-value; leave such out with --exclude-volumes, or convert the scan again"
        )

    def _check_scale(self, bright: dict[int, float], bvals: np.ndarray) -> None:
        """Refuse a scan with volumes that no weighting leaves so bright: they are another's."""
        if bright:
            raise InputError(
                f"{self.inputs.dwi}: in the brain as bright as no diffusion weighting leaves it, "
                f"{max(bright.values()):.2g} times the b0s, is volume "
                f"{self._name(sorted(bright), bvals)}, counted from 0: its scale is another, or "
                "the b-values stand in another order than the volumes; leave such out with "
                "--exclude-volumes, or convert the scan again, its bval file with it"
            )

    def _name(self, rows: list[int], bvals: np.ndarray) -> str:
        """Numbers that volumes have in the user's images, and their b-values."""
        parts = optional(self.inputs.parts) or [(self.inputs.dwi, list(range(len(bvals))))]
        places = [(name, volume) for name, volumes in parts for volume in volumes]
        named = [
            f"{places[row][1]} (b = {bvals[row]:g})"
            + (f" of {os.path.basename(places[row][0])}" if len(parts) > 1 else "")
            for row in rows[:5]
        ]
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        return ", ".join(named) + more

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


class PrepareJoinedInputSpec(PrepareScanInputSpec):
    """Inputs of :class:`PrepareJoined`."""

    joined = File(exists=True, mandatory=True, desc="what the scan was joined from, .json")


class PrepareJoined(PrepareScan):
    """The same for a scan that :class:`dmri7t.interfaces.assemble.AssembleScan` joined."""

    input_spec = PrepareJoinedInputSpec


class PrepareJoinedCleanedInputSpec(PrepareJoinedInputSpec, PrepareCleanedInputSpec):
    """Inputs of :class:`PrepareJoinedCleaned`."""


class PrepareJoinedCleaned(PrepareScan):
    """The same for a scan that was joined and then cleaned."""

    input_spec = PrepareJoinedCleanedInputSpec


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
