"""One shell of a scan as spherical harmonics, RISH and their noise."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional


class RepresentInputSpec(StageInputSpec):
    """Inputs of :class:`Represent`."""

    dwi = File(exists=True, mandatory=True, desc="(volumes, voxels) .npy of the whole scan")
    gradients = File(exists=True, mandatory=True, desc="gradient table of the scan, .npz")
    indices = traits.List(traits.Int, mandatory=True, desc="volumes of the shell in the scan")
    bval = traits.Float(mandatory=True, desc="b-value of the shell, s/mm2")
    n_b0 = traits.Int(mandatory=True, desc="b0 volumes that the mean is made of")
    b0_indices = traits.List(traits.Int, desc="b0 volumes in the scan, where they tell the noise")
    b0 = File(exists=True, mandatory=True, desc="mean b0")
    mask = File(exists=True, mandatory=True, desc="brain mask")
    sh_order = traits.Int(desc="highest order; default: from the number of directions")
    laplace_beltrami = traits.Float(desc="weight of the penalty; default: from the directions")


class RepresentOutputSpec(TraitedSpec):
    """Outputs of :class:`Represent`."""

    representation = File(exists=True, desc="sh, rish, noise, loss and sigma, .safetensors")


class Represent(StageInterface):
    """Fit spherical harmonics to one shell; RISH features and the noise's share of them."""

    input_spec = RepresentInputSpec
    output_spec = RepresentOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import torch

        from dmri7t.io.arrays import open_array, save_shell
        from dmri7t.io.maps import load_brain, load_in
        from dmri7t.signal.shell import Shell, ShellSignal

        self._pin_threads()
        inputs = self.inputs
        brain, rows = load_brain(inputs.mask), list(inputs.indices)
        # of the mapped scan, these rows alone are read
        dwi_NV, b0_rows = open_array(inputs.dwi), list(optional(inputs.b0_indices) or [])
        measured = ShellSignal(
            signal_NV=torch.from_numpy(np.asarray(dwi_NV[rows])),
            b0_V=load_in(inputs.b0, brain),
            directions_N3=np.load(inputs.gradients)["directions"][rows],
            bval=inputs.bval,
            n_b0=inputs.n_b0,
            brain=brain,
            b0s_MV=torch.from_numpy(np.asarray(dwi_NV[b0_rows])) if b0_rows else None,
        )
        order, penalty = optional(inputs.sh_order), optional(inputs.laplace_beltrami)
        path = os.path.join(runtime.cwd, "representation.safetensors")
        save_shell(path, Shell.from_signal(measured, order, penalty))
        self._results["representation"] = path
        return runtime
