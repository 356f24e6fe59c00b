"""The four stages of the model: encode, diffuse, decode, super-resolve."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from nipype.interfaces.base import File, TraitedSpec, traits

from dmri7t.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:  # only what computes loads torch
    from torch import Tensor

    from dmri7t.models.results import Encoded
    from dmri7t.models.translator import Translator
    from dmri7t.signal.shell import Shell


@lru_cache(maxsize=1)
def _load_model(folder: str, sha256: str, device: str, precision: str) -> Translator:
    """Load a model once a worker; the checksum tells another version in the same folder."""
    from dmri7t.models.translator import Translator

    return Translator.load(Path(folder), device=device, precision=precision)


class ModelInputSpec(StageInputSpec):
    """Inputs of every stage that runs a network."""

    # where the model lies and what computes do not change the result: not hashed
    model = traits.Str(mandatory=True, nohash=True, desc="folder of the model")
    model_sha256 = traits.Str(mandatory=True, desc="checksum of the model")
    device = traits.Enum("cpu", "cuda", usedefault=True, nohash=True, desc="what computes")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="counts as a GPU node")
    low_mem = traits.Bool(False, usedefault=True, nohash=True, desc="run networks in tiles")
    precision = traits.Enum("auto", "float32", usedefault=True, desc="of the networks")


class ModelStage(StageInterface):
    """A stage that runs a network."""

    def _model(self) -> Translator:
        self._pin_threads()
        from dmri7t.models.tiles import EDGE

        inputs = self.inputs
        model = _load_model(inputs.model, inputs.model_sha256, inputs.device, inputs.precision)
        if inputs.low_mem:
            # smaller ones stay, where memory ran out before
            model.tiled.edge = min(model.tiled.edge or EDGE, EDGE)
        return model


def load_encoded(path: str, mask: str) -> Encoded:
    """Read what :class:`Encode` wrote, and the brain that it goes with."""
    from dmri7t.io.arrays import load_tensors
    from dmri7t.io.maps import load_brain
    from dmri7t.models.results import Encoded
    from dmri7t.signal.describe import Description

    tensors, record = load_tensors(path)
    return Encoded.from_tensors(tensors, load_brain(mask), Description.from_dict(record))


class EncodeInputSpec(ModelInputSpec):
    """Inputs of :class:`Encode`."""

    representation = File(exists=True, mandatory=True, desc="of the shell, .safetensors")
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    sampled = traits.Bool(True, usedefault=True, desc="whether samples will be drawn")


class EncodeOutputSpec(TraitedSpec):
    """Outputs of :class:`Encode`."""

    encoded = File(exists=True, desc="3T latent and what conditions the diffusion")
    novelty = File(exists=True, desc="how unlike training the shell is, a map and a record")


class Encode(ModelStage):
    """Take RISH of a 3T shell to the latent space; compare both with those of training."""

    input_spec = EncodeInputSpec
    output_spec = EncodeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_shell, save_tensors
        from dmri7t.io.maps import load_brain

        model = self._model()
        shell = load_shell(self.inputs.representation, load_brain(self.inputs.mask))
        encoded = model.encode(shell, self.inputs.sampled)
        path = os.path.join(runtime.cwd, "encoded.safetensors")
        save_tensors(path, encoded.tensors, shell.description.as_dict())
        self._results["encoded"] = path
        self._compare(shell, encoded.code_distance, runtime.cwd)
        return runtime

    def _compare(self, shell: Shell, code_distance: Tensor | None, folder: str) -> None:
        """Write the map and record of novelty; both empty where the model can't compare."""
        from dmri7t.io.arrays import save_tensors
        from dmri7t.models.novelty import Novelty

        path = os.path.join(folder, "novelty.safetensors")
        novelty = Novelty.load(self.inputs.model)
        if novelty is None:
            save_tensors(path, {}, {})
        else:
            compared = novelty.compare(shell, code_distance)
            save_tensors(path, {"map": compared.map_V}, compared.record())
        self._results["novelty"] = path


class DiffuseInputSpec(ModelInputSpec):
    """Inputs of :class:`Diffuse`."""

    encoded = File(exists=True, mandatory=True, desc="from Encode")
    sampler_steps = traits.Int(mandatory=True, desc="steps of the sampler")
    samples = traits.Int(mandatory=True, desc="how many samples are drawn")
    random_seed = traits.Int(mandatory=True, desc="of the sampler")


class DiffuseOutputSpec(TraitedSpec):
    """Outputs of :class:`Diffuse`."""

    diffused = File(exists=True, desc="sampled 7T latents")


class Diffuse(ModelStage):
    """Sample 7T latents by the diffusion model."""

    input_spec = DiffuseInputSpec
    output_spec = DiffuseOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_tensors, save_tensors
        from dmri7t.models.results import Latent

        inputs, model = self.inputs, self._model()
        latent = Latent.from_tensors(load_tensors(inputs.encoded)[0])
        latents = model.diffuse(latent, inputs.sampler_steps, inputs.samples, inputs.random_seed)
        path = os.path.join(runtime.cwd, "diffused.safetensors")
        save_tensors(path, {} if latents is None else {"latents": latents}, {})
        self._results["diffused"] = path
        return runtime


class DecodeInputSpec(ModelInputSpec):
    """Inputs of :class:`Decode`."""

    encoded = File(exists=True, mandatory=True, desc="from Encode")
    diffused = File(exists=True, mandatory=True, desc="from Diffuse")
    sampled = traits.Bool(
        False, usedefault=True, desc="the samples enter the result, whatever the model's shares"
    )
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")


class DecodeOutputSpec(TraitedSpec):
    """Outputs of :class:`Decode`."""

    decoded = File(exists=True, desc="7T-like RISH on the input's grid, a set a sample")


class Decode(ModelStage):
    """Take 7T latents to RISH on the input's grid."""

    input_spec = DecodeInputSpec
    output_spec = DecodeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_tensors, save_tensors

        model = self._model()
        if self.inputs.sampled:
            model = model.evolve(shares=attrs.evolve(model.config.shares, samples=(1.0, 1.0, 1.0)))
        encoded = load_encoded(self.inputs.encoded, self.inputs.mask)
        diffused, _ = load_tensors(self.inputs.diffused)
        decoded = model.decode(encoded, diffused.get("latents"))
        path = os.path.join(runtime.cwd, "decoded.safetensors")
        tensors = {"samples": decoded.samples_S3V, "estimate": decoded.estimate_3V}
        save_tensors(path, tensors, {})
        self._results["decoded"] = path
        return runtime


class SuperResolveInputSpec(ModelInputSpec):
    """Inputs of :class:`SuperResolve`."""

    encoded = File(exists=True, mandatory=True, desc="from Encode")
    decoded = File(exists=True, mandatory=True, desc="from Decode")
    mask = File(exists=True, mandatory=True, desc="brain mask on the input's grid")
    mask_out = File(exists=True, mandatory=True, desc="brain mask on the output's grid")
    estimate = File(exists=True, mandatory=True, desc="RISH of the scan itself, and shares")
    upsampling = traits.Enum("model", "bspline", mandatory=True, desc="network, or spline alone")


class SuperResolveOutputSpec(TraitedSpec):
    """Outputs of :class:`SuperResolve`."""

    generated = File(
        exists=True,
        desc="RISH on the output's grid: mean, sd, the model's alone; cones of directions",
    )


class SuperResolve(ModelStage):
    """Bring 7T-like RISH to the output's grid; mean and spread over samples."""

    input_spec = SuperResolveInputSpec
    output_spec = SuperResolveOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.arrays import load_estimate, load_tensors, save_tensors
        from dmri7t.io.maps import load_brain
        from dmri7t.models.results import Decoded

        inputs, model = self.inputs, self._model()
        encoded = load_encoded(inputs.encoded, inputs.mask)
        tensors, _ = load_tensors(inputs.decoded)
        decoded = Decoded(tensors["samples"], tensors["estimate"])
        brain_out = load_brain(inputs.mask_out)
        generated = model.super_resolve(
            encoded, decoded, brain_out, inputs.upsampling, load_estimate(inputs.estimate)
        )
        path = os.path.join(runtime.cwd, "generated.safetensors")
        record = {
            "samples": len(decoded.samples_S3V),
            "calibrated": model.calibrated,
            "cones": generated.cone_V is not None,
        }
        made = {
            "mean": generated.mean_3V,
            "sd": generated.sd_3V,
            "model": generated.model_3V,
        }
        if generated.cone_V is not None:
            made["cone"] = generated.cone_V
        save_tensors(path, made, record)
        self._results["generated"] = path
        return runtime
