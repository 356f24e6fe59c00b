"""One shell of a scan as spherical harmonics, RISH and their noise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional

if TYPE_CHECKING:  # only what computes loads torch
    from dmri7t.signal.shell import ShellSignal


class ShellInputSpec(StageInputSpec):
    """What was measured of one shell."""

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


class RepresentInputSpec(ShellInputSpec):
    """Inputs of :class:`Represent`."""


def read_signal(inputs: Any) -> ShellSignal:
    """Read what was measured; of the mapped scan these rows alone are read.

    Parameters
    ----------
    inputs : ShellInputSpec
    """
    import torch

    from dmri7t.io.arrays import open_array
    from dmri7t.io.maps import load_brain, load_in
    from dmri7t.signal.rows import take_rows
    from dmri7t.signal.shell import ShellSignal

    brain, rows = load_brain(inputs.mask), list(inputs.indices)
    dwi_NV, b0_rows = open_array(inputs.dwi), list(optional(inputs.b0_indices) or [])
    return ShellSignal(
        signal_NV=torch.from_numpy(take_rows(dwi_NV, rows)),
        b0_V=load_in(inputs.b0, brain),
        directions_N3=np.load(inputs.gradients)["directions"][rows],
        bval=inputs.bval,
        n_b0=inputs.n_b0,
        brain=brain,
        b0s_MV=torch.from_numpy(take_rows(dwi_NV, b0_rows)) if b0_rows else None,
    )


class Represent(StageInterface):
    """Fit spherical harmonics to one shell; RISH features and the noise's share of them."""

    input_spec = RepresentInputSpec
    output_spec = RepresentOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import save_shell
        from dmri7t.signal.shell import Shell

        self._pin_threads()
        inputs = self.inputs
        order, penalty = optional(inputs.sh_order), optional(inputs.laplace_beltrami)
        path = os.path.join(runtime.cwd, "representation.safetensors")
        save_shell(path, Shell.from_signal(read_signal(inputs), order, penalty))
        self._results["representation"] = path
        return runtime
