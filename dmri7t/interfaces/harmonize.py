"""The 7T-like scan out of coefficients, generated RISH and b0 volumes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface

_Indices = traits.List(traits.Int)


class HarmonizeInputSpec(StageInputSpec):
    """Inputs of :class:`Harmonize`."""

    dwi = File(exists=True, mandatory=True, desc="(volumes, voxels) .npy of the whole scan")
    b0 = File(exists=True, mandatory=True, desc="mean b0")
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    mask_out = File(exists=True, mandatory=True, desc="brain mask on the output's grid")
    representations = InputMultiPath(
        File(exists=True), mandatory=True, desc="of the translated shells"
    )
    generated = InputMultiPath(
        File(exists=True), mandatory=True, desc="generated RISH of the same shells"
    )
    shell_indices = traits.List(_Indices, mandatory=True, desc="volumes of these shells")
    interpolated = traits.List(
        traits.Int, mandatory=True, desc="volumes that are interpolated only: b0, other shells"
    )
    ratio_lower = traits.Float(mandatory=True, desc="bounds of sqrt(R7 / R3)")
    ratio_upper = traits.Float(mandatory=True, desc="bounds of sqrt(R7 / R3)")
    consistency = traits.Float(
        0.0, usedefault=True, desc="hold below this fraction of the input's Nyquist; 0: do not"
    )


class HarmonizeOutputSpec(TraitedSpec):
    """Outputs of :class:`Harmonize`."""

    dwi = File(exists=True, desc="(volumes, voxels) .npy on the output's grid")
    b0 = File(exists=True, desc="mean b0 on the output's grid")
    figures = File(exists=True, desc="fractions bounded and values repaired, .json")


class Harmonize(StageInterface):
    """Scale the harmonics by generated RISH and evaluate them at every gradient direction."""

    input_spec = HarmonizeInputSpec
    output_spec = HarmonizeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import torch

        from dmri7t.io.arrays import create_array, open_array
        from dmri7t.io.maps import load_map, load_mask, save_map
        from dmri7t.signal.compose import compose
        from dmri7t.signal.consistency import LowPass
        from dmri7t.signal.regrid import Regrid

        self._pin_threads()
        inputs = self.inputs
        mask_XYZ, grid = load_mask(inputs.mask)
        mask_out_XYZ, grid_out = load_mask(inputs.mask_out)
        dwi_NV = open_array(inputs.dwi)
        sizes_out, sizes = grid_out.voxel_sizes, grid.voxel_sizes
        fraction = inputs.consistency
        lowpass = LowPass(mask_out_XYZ, sizes_out, sizes, fraction) if fraction else None
        path = os.path.join(runtime.cwd, "dwi.npy")
        out_NV = create_array(path, (len(dwi_NV), int(mask_out_XYZ.sum())))
        made = compose(
            torch.from_numpy(dwi_NV),
            torch.from_numpy(np.ascontiguousarray(load_map(inputs.b0)[0][mask_XYZ])),
            self._shells(),
            list(inputs.interpolated),
            Regrid(mask_XYZ, grid, mask_out_XYZ, grid_out),
            out_NV,
            (inputs.ratio_lower, inputs.ratio_upper),
            lowpass,
        )
        out_NV.flush()
        b0_XYZ = np.zeros(grid_out.shape, np.float32)
        b0_XYZ[mask_out_XYZ] = made.b0_V.numpy()
        self._results = {
            "dwi": path,
            "b0": os.path.join(runtime.cwd, "b0.nii"),
            "figures": os.path.join(runtime.cwd, "figures.json"),
        }
        save_map(self._results["b0"], b0_XYZ, grid_out)
        with open(self._results["figures"], "w") as file:
            json.dump({"bounded": made.bounded, "output_negative": made.negative}, file)
        return runtime

    def _shells(self) -> Iterator[Any]:
        """Load the translated shells one by one."""
        from dmri7t.io.arrays import load_tensors
        from dmri7t.signal.compose import TranslatedShell

        inputs = self.inputs
        for representation, generated, rows in zip(
            inputs.representations, inputs.generated, inputs.shell_indices, strict=True
        ):
            shell, _ = load_tensors(representation)
            rish7, _ = load_tensors(generated)
            directions_N3 = shell["directions"].numpy()
            yield TranslatedShell(shell["sh"], rish7["mean"], directions_N3, list(rows))
