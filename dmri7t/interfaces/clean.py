"""A raw scan without noise and ringing."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional


class CleanScanInputSpec(StageInputSpec):
    """Inputs of :class:`CleanScan`."""

    dwi = File(exists=True, mandatory=True, desc="4D image")
    bval = File(exists=True, mandatory=True, desc="b-values")
    mask = File(exists=True, desc="brain mask; default: one is found")
    b0_threshold = traits.Float(mandatory=True, desc="b-values up to this one are b0, s/mm2")
    denoise = traits.Bool(mandatory=True, desc="MP-PCA")
    gibbs = traits.Bool(mandatory=True, desc="removal of Gibbs ringing, after that")
    slice_axis = traits.Range(0, 2, mandatory=True, desc="axis along which slices lie")


class CleanScanOutputSpec(TraitedSpec):
    """Outputs of :class:`CleanScan`."""

    dwi = File(exists=True, desc="4D image, float32, uncompressed")
    cleaning = File(exists=True, desc="what was done, and how much noise was found, .json")


class CleanScan(StageInterface):
    """Take noise and ringing out of a raw scan, in this order."""

    input_spec = CleanScanInputSpec
    output_spec = CleanScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel

        from dmri7t.files import scratch_folder
        from dmri7t.io.gradients import read_bvals
        from dmri7t.io.images import open_volumes
        from dmri7t.io.maps import load_mask
        from dmri7t.signal.clean import denoise, remove_ringing
        from dmri7t.signal.gradients import find_shells
        from dmri7t.signal.grids import Grid
        from dmri7t.signal.prepare import find_brain, mean_volume

        inputs = self.inputs
        record: dict[str, Any] = {"denoised": "MP-PCA" if inputs.denoise else "", "gibbs": False}
        with scratch_folder(runtime.cwd) as scratch:
            image = open_volumes(inputs.dwi, scratch)

            def volume(index: int) -> np.ndarray:
                return np.asarray(image.dataobj[..., index])

            if inputs.denoise:
                b0, _ = find_shells(read_bvals(inputs.bval), inputs.b0_threshold)
                sizes = Grid(image.shape, image.affine).voxel_sizes
                given = optional(inputs.mask)
                given_XYZ = load_mask(given)[0] if given else None
                mask_XYZ = find_brain(mean_volume(volume, b0), sizes, given_XYZ)
                volume, figures = denoise(volume, image.shape[3], mask_XYZ)
                record |= figures
            out = np.empty(image.shape, np.float32, order="F")
            for index in range(image.shape[3]):
                out[..., index] = volume(index)
                if inputs.gibbs:
                    out[..., index] = remove_ringing(out[..., index], inputs.slice_axis)
            record["gibbs"] = inputs.gibbs
            header = nibabel.Nifti1Header(endianness="<")
            header.set_xyzt_units(*image.header.get_xyzt_units())
            cleaned = nibabel.Nifti1Image(out, image.affine, header)
        self._results = {
            "dwi": os.path.join(runtime.cwd, "dwi.nii"),
            "cleaning": os.path.join(runtime.cwd, "cleaning.json"),
        }
        nibabel.save(cleaned, self._results["dwi"])
        with open(self._results["cleaning"], "w") as file:
            json.dump(record, file)
        return runtime
