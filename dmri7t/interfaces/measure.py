"""Tensor maps, and quality metrics."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:  # only what computes loads torch
    from dmri7t.signal.consistency import Departure
    from dmri7t.signal.shell import Brain


class FitTensorInputSpec(StageInputSpec):
    """Inputs of :class:`FitTensor`."""

    dwi = File(exists=True, mandatory=True, desc="(volumes, voxels) .npy")
    gradients = File(exists=True, mandatory=True, desc="gradient table of the scan, .npz")
    indices = traits.List(traits.Int, mandatory=True, desc="volumes that take part")


class FitTensorOutputSpec(TraitedSpec):
    """Outputs of :class:`FitTensor`."""

    tensor = File(exists=True, desc="fa (V,), md (V,) and direction (V, 3), .safetensors")


class FitTensor(StageInterface):
    """Fit a diffusion tensor; FA, MD and the principal direction."""

    input_spec = FitTensorInputSpec
    output_spec = FitTensorOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import torch

        from dmri7t.io.arrays import open_array, save_tensors
        from dmri7t.signal.tensormaps import tensor_maps

        self._pin_threads()
        rows = list(self.inputs.indices)
        table = np.load(self.inputs.gradients)
        maps = tensor_maps(
            torch.from_numpy(open_array(self.inputs.dwi)),
            table["bvals"],
            table["directions"],
            rows,
        )
        path = os.path.join(runtime.cwd, "tensor.safetensors")
        save_tensors(path, maps, {"volumes": len(rows)})
        self._results["tensor"] = path
        return runtime


class SpreadAnisotropyInputSpec(StageInputSpec):
    """Inputs of :class:`SpreadAnisotropy`."""

    tensor = File(exists=True, mandatory=True, desc="FA of the output, .safetensors")
    generated = InputMultiPath(
        File(exists=True), mandatory=True, desc="RISH and their errors, a file a shell"
    )
    index = traits.Int(mandatory=True, desc="which of the shells FA is mostly of")
    bval = traits.Float(mandatory=True, desc="its b-value, s/mm2")
    factor = traits.Float(mandatory=True, desc="from the model's calibration")


class SpreadAnisotropyOutputSpec(TraitedSpec):
    """Outputs of :class:`SpreadAnisotropy`."""

    anisotropy_sd = File(exists=True, desc="fa_sd (V,), .safetensors")


class SpreadAnisotropy(StageInterface):
    """Carry the errors of RISH over to FA."""

    input_spec = SpreadAnisotropyInputSpec
    output_spec = SpreadAnisotropyOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_tensors, save_tensors
        from dmri7t.models.uncertainty import anisotropy_sd

        self._pin_threads()
        inputs = self.inputs
        tensor, _ = load_tensors(inputs.tensor)
        rish7, _ = load_tensors(inputs.generated[inputs.index])
        sd = anisotropy_sd(tensor["fa"], rish7["mean"], rish7["sd"], inputs.bval)
        path = os.path.join(runtime.cwd, "anisotropy_sd.safetensors")
        save_tensors(path, {"fa_sd": inputs.factor * sd}, {})
        self._results["anisotropy_sd"] = path
        return runtime


class MeasureQualityInputSpec(StageInputSpec):
    """Inputs of :class:`MeasureQuality`."""

    dwi = File(exists=True, mandatory=True, desc="the input, (volumes, voxels) .npy")
    dwi_out = File(exists=True, mandatory=True, desc="the output, (volumes, voxels) .npy")
    b0 = File(exists=True, mandatory=True, desc="mean b0 of the input")
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    mask_out = File(exists=True, mandatory=True, desc="brain mask on the output's grid")
    checks = File(exists=True, mandatory=True, desc="repairs of the input, .json")
    metrics = File(exists=True, mandatory=True, desc="of harmonization, .json")
    representations = InputMultiPath(
        File(exists=True), mandatory=True, desc="of the translated shells"
    )
    estimates = InputMultiPath(
        File(exists=True), mandatory=True, desc="of their coefficients, a file a shell"
    )
    novelty = InputMultiPath(
        File(exists=True), mandatory=True, desc="how unlike training they are, a file a shell"
    )
    groups = traits.Dict(mandatory=True, desc="volumes of b0 and of every shell, by name")
    translated = traits.List(traits.Str, mandatory=True, desc="names of translated shells")
    reasons = traits.Dict(usedefault=True, desc="why the other shells are interpolated, by name")
    ranges = traits.Dict(mandatory=True, desc="what the model was trained on")
    forecast = traits.Dict(usedefault=True, desc="of what a scan gains, from the calibration")


class MeasureQualityOutputSpec(TraitedSpec):
    """Outputs of :class:`MeasureQuality`."""

    quality = File(exists=True, desc="quality metrics, .json")
    table = File(exists=True, desc="the same as a table, .tsv")
    departures = File(
        exists=True, desc="departures from the input in units of noise, by shell, .safetensors"
    )


class MeasureQuality(StageInterface):
    """Gather quality metrics: noise, consistency, bounds, repairs, range of training."""

    input_spec = MeasureQualityInputSpec
    output_spec = MeasureQualityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import save_tensors
        from dmri7t.io.maps import load_brain
        from dmri7t.signal.extent import extent_sentences
        from dmri7t.signal.quality import Group, quality_record, quality_table

        self._pin_threads()
        inputs = self.inputs
        brain = load_brain(inputs.mask)
        shells = self._shells()
        nmse, departures = self._compare(brain, [shell["floor"] for shell in shells])
        metrics = _read_json(inputs.metrics)
        for shell, departure, bounded in zip(shells, departures, metrics["bounded"], strict=True):
            shell["expected"] = self._expect(shell)
            shell["consistency"] = {
                "difference": departure.difference,
                "noise": departure.noise,
                "beyond": departure.beyond,
            }
            shell["bounded"] = bounded
        translated = dict(zip(inputs.translated, shells, strict=True))
        record = quality_record(
            [
                Group(name, len(rows), translated.get(name, {}), inputs.reasons.get(name, ""))
                for name, rows in inputs.groups.items()
            ],
            nmse,
            {**_read_json(inputs.checks), "output_outside": metrics["output_outside"]},
            brain.voxel_sizes.tolist(),
            inputs.ranges,
            extent_sentences(brain.mask, brain.voxel_sizes),
        )
        names = {"quality": "json", "table": "tsv", "departures": "safetensors"}
        for name, ending in names.items():
            self._results[name] = os.path.join(runtime.cwd, f"{name}.{ending}")
        maps = {str(row): departure.map_LV for row, departure in enumerate(departures)}
        save_tensors(self._results["departures"], maps, {"shells": inputs.translated})
        with open(self._results["quality"], "w") as file:
            json.dump(record, file, indent=2)
        with open(self._results["table"], "w") as file:
            file.write(quality_table(record))
        return runtime

    def _compare(
        self, brain: Brain, floors: list[float]
    ) -> tuple[dict[str, float], list[Departure]]:
        """NMSE of every group of volumes, and how far every translated shell departs."""
        import torch

        from dmri7t.io.arrays import load_shell, open_array
        from dmri7t.io.maps import load_brain, load_in
        from dmri7t.signal.consistency import Back, BeforeAfter, departure
        from dmri7t.signal.quality import compare_groups

        inputs = self.inputs
        dwi_NV, out_NV = (torch.from_numpy(open_array(p)) for p in (inputs.dwi, inputs.dwi_out))
        scans = BeforeAfter(dwi_NV, out_NV, Back(load_brain(inputs.mask_out), brain))
        b0_V = load_in(inputs.b0, brain)
        files = zip(inputs.translated, inputs.representations, floors, strict=True)
        departures = [
            departure(scans, b0_V, load_shell(path, brain), inputs.groups[name], floor)
            for name, path, floor in files
        ]
        return compare_groups(scans, inputs.groups), departures

    def _expect(self, shell: dict[str, Any]) -> dict[str, dict[str, float]]:
        """What the shell may gain: ratio, low and high, by map; empty without a forecast."""
        import attrs

        from dmri7t.models.fitted import ForecastFit
        from dmri7t.models.forecast import forecast
        from dmri7t.models.plain import from_plain
        from dmri7t.signal.describe import Description

        fits = {n: from_plain(ForecastFit, fit) for n, fit in self.inputs.forecast.items()}
        expected = forecast(fits, Description.from_dict(shell))
        return {name: attrs.asdict(value) for name, value in expected.items()}

    def _shells(self) -> list[dict[str, Any]]:
        """What fit and comparison say of every translated shell."""
        from dmri7t.io.arrays import load_meta

        inputs = self.inputs
        files = zip(inputs.representations, inputs.estimates, inputs.novelty, strict=True)
        records = ([load_meta(path) for path in of_shell] for of_shell in files)
        return [
            {
                **shell,
                "evidence": estimate["evidence"],
                "floor": estimate["floor"],
                "novelty": novelty,
            }
            for shell, estimate, novelty in records
        ]


def _read_json(path: str) -> dict[str, Any]:
    with open(path) as file:
        return json.load(file)
