"""The 7T-like scan out of coefficients, generated RISH and b0 volumes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:  # only what computes loads torch
    from dmri7t.signal.compose import TranslatedShell
    from dmri7t.signal.shell import Brain

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
    estimates = InputMultiPath(
        File(exists=True), mandatory=True, desc="of the coefficients of the same shells"
    )
    generated = InputMultiPath(
        File(exists=True), mandatory=True, desc="generated RISH of the same shells"
    )
    shell_indices = traits.List(_Indices, mandatory=True, desc="volumes of these shells")
    b0_indices = traits.List(traits.Int, mandatory=True, desc="b0 volumes")
    others = traits.List(
        traits.Int, usedefault=True, desc="volumes of other shells, which are interpolated only"
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
    metrics = File(exists=True, desc="fractions bounded and values repaired, .json")


class Harmonize(StageInterface):
    """Scale the harmonics by generated RISH and evaluate them at every gradient direction."""

    input_spec = HarmonizeInputSpec
    output_spec = HarmonizeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import torch

        from dmri7t.io.arrays import create_array, open_array
        from dmri7t.io.maps import load_brain, load_in, save_map
        from dmri7t.signal.compose import Composer
        from dmri7t.signal.consistency import LowPass
        from dmri7t.signal.regrid import Regrid

        self._pin_threads()
        inputs = self.inputs
        brain, brain_out = load_brain(inputs.mask), load_brain(inputs.mask_out)
        dwi_NV, fraction = open_array(inputs.dwi), inputs.consistency
        composer = Composer(
            Regrid(brain, brain_out),
            (inputs.ratio_lower, inputs.ratio_upper),
            LowPass(brain_out, brain.voxel_sizes, fraction) if fraction else None,
        )
        path = os.path.join(runtime.cwd, "dwi.npy")
        out_NV = create_array(path, (len(dwi_NV), brain_out.n_voxels))
        composition = composer.compose(
            torch.from_numpy(dwi_NV),
            load_in(inputs.b0, brain),
            self._shells(brain),
            list(inputs.b0_indices),
            list(inputs.others),
            out_NV,
        )
        out_NV.flush()
        self._results = {
            "dwi": path,
            "b0": os.path.join(runtime.cwd, "b0.nii"),
            "metrics": os.path.join(runtime.cwd, "metrics.json"),
        }
        b0_XYZ = brain_out.place(composition.b0_V[None])[0].numpy()
        save_map(self._results["b0"], b0_XYZ, brain_out.grid)
        metrics = {"bounded": composition.bounded, "output_outside": composition.outside}
        with open(self._results["metrics"], "w") as file:
            json.dump(metrics, file)
        return runtime

    def _shells(self, brain: Brain) -> Iterator[TranslatedShell]:
        """Load the translated shells one by one."""
        from dmri7t.io.arrays import load_estimate, load_shell, load_tensors
        from dmri7t.signal.compose import TranslatedShell

        inputs = self.inputs
        files = (inputs.representations, inputs.estimates, inputs.generated, inputs.shell_indices)
        for representation, estimate, generated, rows in zip(*files, strict=True):
            shell = load_shell(representation, brain)
            yield TranslatedShell(
                load_estimate(estimate),
                shell.directions_N3,
                load_tensors(generated)[0]["model"],
                list(rows),
                shell.description.bval,
                shell.sh_CV if inputs.consistency else None,
            )
