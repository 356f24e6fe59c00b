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

        from dmri7t.io.arrays import open_array, save_tensors
        from dmri7t.io.maps import load_map, load_mask
        from dmri7t.signal.coherence import coherent_rish
        from dmri7t.signal.describe import describe
        from dmri7t.signal.represent import represent
        from dmri7t.signal.slices import slice_loss

        self._pin_threads()
        inputs = self.inputs
        mask_XYZ, grid = load_mask(inputs.mask)
        b0_XYZ, _ = load_map(inputs.b0)
        rows = list(inputs.indices)
        directions_N3 = np.load(inputs.gradients)["directions"][rows]
        # of the mapped scan, these rows alone are read
        signal_NV = torch.from_numpy(np.asarray(open_array(inputs.dwi)[rows]))
        made = represent(
            signal_NV,
            torch.from_numpy(np.ascontiguousarray(b0_XYZ[mask_XYZ])),
            directions_N3,
            n_b0=inputs.n_b0,
            order=optional(inputs.sh_order),
            laplace_beltrami=optional(inputs.laplace_beltrami),
        )
        described = describe(signal_NV, made, inputs.bval, mask_XYZ, grid.voxel_sizes)
        path = os.path.join(runtime.cwd, "representation.safetensors")
        save_tensors(
            path,
            {
                "sh": made.sh_CV,
                "rish": made.rish_LV,
                "noise": made.noise_LV,
                "coherent": coherent_rish(made.sh_CV, mask_XYZ),
                "loss": slice_loss(signal_NV, mask_XYZ),
                "sigma": made.sigma_V,
                "directions": torch.from_numpy(directions_N3),
            },
            {
                **described.as_dict(),
                "order": made.plan.order,
                "laplace_beltrami": made.plan.laplace_beltrami,
                "gain": made.plan.gain_L.tolist(),
            },
        )
        self._results["representation"] = path
        return runtime
