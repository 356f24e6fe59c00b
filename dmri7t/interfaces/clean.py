"""A raw scan without noise and ringing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, named_as, optional


class CleanScanInputSpec(StageInputSpec):
    """Inputs of :class:`CleanScan`."""

    dwi = File(exists=True, mandatory=True, desc="4D image")
    bval = File(exists=True, mandatory=True, desc="b-values")
    mask = File(exists=True, desc="brain mask; default: one is found")
    b0_threshold = traits.Float(mandatory=True, desc="b-values up to this one are b0, s/mm2")
    denoise = traits.Bool(mandatory=True, desc="MP-PCA")
    gibbs = traits.Bool(mandatory=True, desc="removal of Gibbs ringing, after that")
    slice_axis = traits.Range(0, 2, mandatory=True, desc="axis along which slices lie")
    source = traits.Str(nohash=True, desc="the image as the user knows it; default: dwi")


class CleanScanOutputSpec(TraitedSpec):
    """Outputs of :class:`CleanScan`."""

    dwi = File(exists=True, desc="4D image, float32, uncompressed")
    cleaning = File(exists=True, desc="what was done, and how much noise was found, .json")


class CleanScan(StageInterface):
    """Take noise and ringing out of a raw scan, in this order."""

    input_spec = CleanScanInputSpec
    output_spec = CleanScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        with named_as(self.inputs.dwi, optional(self.inputs.source, self.inputs.dwi)):
            self._results = self._clean(runtime.cwd)
        return runtime

    def _clean(self, folder: str) -> dict[str, str]:
        from dmri7t.io.images import save_series
        from dmri7t.io.opened import open_scan
        from dmri7t.io.scan import ScanFiles
        from dmri7t.signal.clean import denoise, remove_ringing

        inputs = self.inputs
        files = ScanFiles(inputs.dwi, inputs.bval, mask=optional(inputs.mask))
        record: dict[str, Any] = {"denoised": "MP-PCA" if inputs.denoise else "", "gibbs": False}
        with open_scan(files, inputs.b0_threshold, scratch=folder) as scan:
            image = scan.image
            volume: Callable[[int], np.ndarray] = scan.volume
            if inputs.denoise:
                volume, noise = denoise(volume, scan.n_volumes, scan.brain.mask)
                record |= noise
            out = np.empty(image.shape, np.float32, order="F")
            for index in range(scan.n_volumes):
                out[..., index] = volume(index)
                if inputs.gibbs:
                    out[..., index] = remove_ringing(out[..., index], inputs.slice_axis)
            record["gibbs"] = inputs.gibbs
        results = {
            "dwi": os.path.join(folder, "dwi.nii"),
            "cleaning": os.path.join(folder, "cleaning.json"),
        }
        save_series(results["dwi"], out, image)
        with open(results["cleaning"], "w") as file:
            json.dump(record, file)
        return results
