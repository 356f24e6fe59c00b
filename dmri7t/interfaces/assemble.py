"""A scan of those volumes that are used."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional


class AssembleScanInputSpec(StageInputSpec):
    """Inputs of :class:`AssembleScan`."""

    dwi = File(exists=True, mandatory=True, desc="4D image")
    bval = File(exists=True, mandatory=True, desc="b-values")
    bvec = File(exists=True, mandatory=True, desc="gradient vectors, FSL's convention")
    grad_b = File(exists=True, desc="gradients in the scanner frame (MRtrix)")
    volumes = traits.List(traits.Int, mandatory=True, desc="volumes that are used, in their order")


class AssembleScanOutputSpec(TraitedSpec):
    """Outputs of :class:`AssembleScan`."""

    dwi = File(exists=True, desc="4D image, float32, uncompressed")
    bval = File(exists=True, desc="b-values")
    bvec = File(exists=True, desc="gradient vectors, FSL's convention")
    grad_b = File(exists=True, desc="gradients in the scanner frame, of these volumes")


class AssembleScan(StageInterface):
    """Leave volumes out of a scan, and their gradients with them."""

    input_spec = AssembleScanInputSpec
    output_spec = AssembleScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.files import scratch_folder
        from dmri7t.io.gradients import read_table, write_fsl, write_mrtrix
        from dmri7t.io.images import open_volumes, save_series

        inputs = self.inputs
        kept = list(inputs.volumes)
        with scratch_folder(runtime.cwd) as folder:
            image = open_volumes(inputs.dwi, folder)
            values = np.empty((*image.shape[:3], len(kept)), np.float32, order="F")
            for row, index in enumerate(kept):
                values[..., row] = np.asarray(image.dataobj[..., index])
        table = read_table(inputs.bval, inputs.bvec, image.affine, optional(inputs.grad_b))
        table = table.take(kept)
        names = {"dwi": "dwi.nii", "bval": "dwi.bval", "bvec": "dwi.bvec", "grad_b": "dwi.b"}
        out = {field: os.path.join(runtime.cwd, name) for field, name in names.items()}
        save_series(out["dwi"], values, image)
        write_fsl(table, image.affine, out["bval"], out["bvec"])
        write_mrtrix(table, out["grad_b"])
        self._results = out
        return runtime
