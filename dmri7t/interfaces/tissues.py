"""Quality metrics by tissue."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface
from dmri7t.signal.grids import Grid


class MeasureTissuesInputSpec(StageInputSpec):
    """Inputs of :class:`MeasureTissues`."""

    quality = File(exists=True, mandatory=True, desc="quality metrics, .json")
    segmentation = InputMultiPath(
        File(exists=True), mandatory=True, desc="labels, or probabilities of GM, WM and CSF"
    )
    anatomy_mask = File(exists=True, mandatory=True, desc="brain mask of the same space")
    labels = traits.List(traits.Int, mandatory=True, desc="of GM, WM, CSF; none: probabilities")
    maker = traits.Str(mandatory=True, desc="program that made the segmentation")
    source = traits.Str(mandatory=True, desc="its BIDS URI")
    dice_needed = traits.Float(mandatory=True, desc="overlap of the brain masks that is needed")
    dwi = File(exists=True, mandatory=True, desc="the input, (volumes, voxels) .npy")
    dwi_out = File(exists=True, mandatory=True, desc="the output, (volumes, voxels) .npy")
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    mask_out = File(exists=True, mandatory=True, desc="brain mask on the output's grid")
    tensor_native = File(exists=True, mandatory=True, desc="tensor maps of the input")
    tensor_generated = File(exists=True, mandatory=True, desc="tensor maps of the output")
    groups = traits.Dict(mandatory=True, desc="volumes of b0 and of every shell, by name")


class MeasureTissuesOutputSpec(TraitedSpec):
    """Outputs of :class:`MeasureTissues`."""

    quality = File(exists=True, desc="quality metrics with those by tissue, .json")
    table = File(exists=True, desc="the same as a table, .tsv")


class MeasureTissues(StageInterface):
    """Add FA, MD and NMSE by tissue to the quality metrics, or say why there are none."""

    input_spec = MeasureTissuesInputSpec
    output_spec = MeasureTissuesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.maps import load_mask
        from dmri7t.signal.quality import quality_table
        from dmri7t.signal.spaces import dice, nearest
        from dmri7t.signal.tissues import tissue_record

        self._pin_threads()
        inputs = self.inputs
        mask_XYZ, grid = load_mask(inputs.mask)
        anatomy_XYZ, anatomy_grid = load_mask(inputs.anatomy_mask)
        overlap = dice(nearest(anatomy_XYZ, anatomy_grid, grid), mask_XYZ)
        with open(inputs.quality) as file:
            record = json.load(file)
        record["tissues"] = tissue_record(
            overlap, inputs.dice_needed, self._rows, inputs.maker, inputs.source
        )
        texts = {"quality": json.dumps(record, indent=2), "table": quality_table(record)}
        for name, ending in (("quality", "json"), ("table", "tsv")):
            self._results[name] = os.path.join(runtime.cwd, f"{name}.{ending}")
            with open(self._results[name], "w") as file:
                file.write(texts[name])
        return runtime

    def _rows(self) -> list[dict[str, Any]]:
        import torch

        from dmri7t.io.arrays import load_tensors, open_array
        from dmri7t.io.maps import load_brain
        from dmri7t.signal.consistency import Back, BeforeAfter
        from dmri7t.signal.spaces import nearest
        from dmri7t.signal.tissues import tissue_nmse, tissue_rows

        inputs = self.inputs
        tissue_XYZ, tissue_grid = self._tissues()
        brain, brain_out = load_brain(inputs.mask), load_brain(inputs.mask_out)
        labels_V = nearest(tissue_XYZ, tissue_grid, brain.grid)[brain.mask]
        labels_out_V = nearest(tissue_XYZ, tissue_grid, brain_out.grid)[brain_out.mask]
        dwi_NV, out_NV = (torch.from_numpy(open_array(p)) for p in (inputs.dwi, inputs.dwi_out))
        scans = BeforeAfter(dwi_NV, out_NV, Back(brain_out, brain))
        return tissue_rows(
            labels_V,
            labels_out_V,
            load_tensors(inputs.tensor_native)[0],
            load_tensors(inputs.tensor_generated)[0],
            tissue_nmse(labels_V, scans, inputs.groups),
            float(np.prod(brain.voxel_sizes)) / 1000,
        )

    def _tissues(self) -> tuple[np.ndarray, Grid]:
        """Labels 1, 2, 3 for GM, WM, CSF, and their grid."""
        from dmri7t.io.maps import load_map
        from dmri7t.signal.spaces import from_labels, from_probabilities

        maps = [load_map(path) for path in self.inputs.segmentation]
        grid = maps[0][1]
        if self.inputs.labels:
            return from_labels(maps[0][0], tuple(self.inputs.labels)), grid
        return from_probabilities(np.stack([values for values, _ in maps])), grid
