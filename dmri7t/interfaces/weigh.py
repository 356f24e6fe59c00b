"""What part filter and model have in a shell's result, by what the scan itself says."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInterface, optional
from dmri7t.interfaces.represent import ShellInputSpec, read_signal
from dmri7t.interfaces.translate import ModelInputSpec, ModelStage


class WeighInputSpec(ShellInputSpec, ModelInputSpec):
    """Inputs of :class:`Weigh`."""

    voxel_out = traits.List(traits.Float, mandatory=True, desc="voxel sizes of the output, mm")
    upsampling = traits.Enum("model", "bspline", usedefault=True, desc="to the output's grid")
    by_scan = traits.Bool(mandatory=True, desc="the scan decides; else all is the model's")
    hold = traits.Bool(mandatory=True, desc="order 0 of a model that scales wholly is held")
    energy = traits.Float(mandatory=True, desc="of filtered coefficients, 0 to 1")
    ratio_lower = traits.Float(mandatory=True, desc="bounds of sqrt(R7 / R3)")
    ratio_upper = traits.Float(mandatory=True, desc="bounds of sqrt(R7 / R3)")
    compare = traits.Bool(False, usedefault=True, desc="compare with MP-PCA")


class WeighOutputSpec(TraitedSpec):
    """Outputs of :class:`Weigh`."""

    evidence = File(exists=True, desc="what the shell says of filter and model, .json")


class Weigh(ModelStage):
    """Leave directions of a shell out to see what filter and model gain."""

    input_spec = WeighInputSpec
    output_spec = WeighOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import save_evidence
        from dmri7t.models.weighing import Weighing, ask_shell

        inputs, model = self.inputs, self._model()
        weighing = Weighing(
            by_scan=inputs.by_scan,
            hold=inputs.hold,
            energy=inputs.energy,
            bounds=(inputs.ratio_lower, inputs.ratio_upper),
            # what was asked for: fewer directions choose an order of their own, as in any fit
            order=optional(inputs.sh_order),
            laplace_beltrami=optional(inputs.laplace_beltrami),
            compare=inputs.compare,
            upsampling=inputs.upsampling,
        )
        path = os.path.join(runtime.cwd, "evidence.json")
        measured = read_signal(inputs)
        save_evidence(path, ask_shell(model, measured, list(inputs.voxel_out), weighing))
        self._results["evidence"] = path
        return runtime


class FilterShellInputSpec(ShellInputSpec):
    """Inputs of :class:`FilterShell`."""

    representation = File(exists=True, mandatory=True, desc="of the shell, .safetensors")
    evidence = File(exists=True, mandatory=True, desc="from Weigh")
    by_scan = traits.Bool(mandatory=True, desc="the scan decides; else all is the model's")
    hold = traits.Bool(mandatory=True, desc="order 0 of a model that scales wholly is held")
    energy = traits.Float(mandatory=True, desc="of filtered coefficients, 0 to 1")
    remove_floor = traits.Bool(mandatory=True, desc="take the noise's floor out of them")
    whole_model = traits.Bool(False, usedefault=True, desc="the result is the model's in the end")


class FilterShellOutputSpec(TraitedSpec):
    """Outputs of :class:`FilterShell`."""

    estimate = File(exists=True, desc="coefficients, RISH, shares and their evidence")


class FilterShell(StageInterface):
    """Filter a shell's coefficients, and take of that what the shell said."""

    input_spec = FilterShellInputSpec
    output_spec = FilterShellOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_evidence, load_shell, save_estimate
        from dmri7t.io.maps import load_brain
        from dmri7t.models.weighing import Weighing, mix_shell

        self._pin_threads()
        inputs = self.inputs
        shell = load_shell(inputs.representation, load_brain(inputs.mask))
        weighing = Weighing(
            by_scan=inputs.by_scan,
            hold=inputs.hold,
            energy=inputs.energy,
            whole_model=inputs.whole_model,
            remove_floor=inputs.remove_floor,
        )
        path = os.path.join(runtime.cwd, "estimate.safetensors")
        evidence = load_evidence(inputs.evidence)
        save_estimate(path, mix_shell(read_signal(inputs), shell, evidence, weighing))
        self._results["estimate"] = path
        return runtime
