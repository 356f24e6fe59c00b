"""From the RISH of a 3T shell to 7T-like RISH: encode, diffuse, decode, super-resolve.

A translator has one of three forms. ``direct`` is the paper's: the VQ-VAEs carry the image
itself. ``residual`` adds a regression mean, and the 7T VQ-VAE carries only what is missing
from it; its decoder never sees the input, so the latent cannot be ignored. ``regression`` is
the mean alone, what the others are compared with: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dmri7t.errors import ModelError
from dmri7t.models import inputs, sampler
from dmri7t.models.box import Box, BoxSpline
from dmri7t.models.bundle import check_bundle
from dmri7t.models.config import LatentName, ModelConfig
from dmri7t.models.layers import codebook, quantize
from dmri7t.models.precision import cast, fast_cpu
from dmri7t.models.results import Decoded, Encoded, Encoding, Generated, Latent, Resolved
from dmri7t.models.tiles import Tiler
from dmri7t.models.uncertainty import TERMS, direction_cone, rish_sd, root_sd, terms
from dmri7t.signal.estimate import ShellEstimate, mixed_rish
from dmri7t.signal.principal import ORDER_2
from dmri7t.signal.shell import Brain, Shell

Upsampling = Literal["model", "bspline"]
"""How the result comes to the output's grid."""


def build_networks(config: ModelConfig) -> dict[str, nn.Module]:
    """Build the networks of a model, with random weights, in the order of the stages."""
    networks = config.networks
    return {name: networks[name].build(*config.channels(name)) for name in networks}


class Translator:
    """A loaded model. Build one by :meth:`load`; each stage is one method.

    Parameters
    ----------
    config : ModelConfig
    networks : dict of Module
        See :func:`build_networks`.
    device : str
    precision : {"auto", "float32", "bfloat16"}
        auto: bfloat16 convolutions on CUDA and on CPUs with AMX, else float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        networks: dict[str, nn.Module],
        device: str = "cpu",
        precision: str = "auto",
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        if precision == "auto":
            fast = self.device.type == "cuda" or fast_cpu()
            precision = "bfloat16" if fast else "float32"
        self.precision = precision
        self.networks = {
            # torch takes a memory format, though its annotation does not say so
            name: net.eval().to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            for name, net in networks.items()
        }
        self.scale = torch.tensor(config.scale, device=self.device)
        self.tiled = Tiler()

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: str = "auto") -> Translator:
        """Read a model's folder, holding every file against its checksum.

        Raises
        ------
        ModelError
            If a file is missing, altered, or does not fit the description.
        """
        from safetensors.torch import load_file

        config = check_bundle(folder)
        networks = build_networks(config)
        for name, network in networks.items():
            path = Path(folder) / f"{name}.safetensors"
            try:
                state = {key: value.float() for key, value in load_file(path).items()}
                network.load_state_dict(state)
            except (RuntimeError, OSError, ValueError) as error:
                line = str(error).splitlines()[0]
                raise ModelError(
                    f"{path}: weights do not fit the model's description ({line}); "
                    "copy the model's folder again."
                ) from error
        return cls(config, networks, device, precision)

    def evolve(self, **changes: Any) -> Translator:
        """Return the same networks under a description with some changes; they are shared."""
        other = copy(self)
        other.config = attrs.evolve(self.config, **changes)
        return other

    @property
    def samples_drawn(self) -> bool:
        """Whether the model has a diffusion stage."""
        return self.config.samples_drawn

    @property
    def calibrated(self) -> bool:
        """Whether the model knows how far its results are off."""
        return self.config.calibration is not None

    @property
    def factor(self) -> int:
        """Voxels of the image per latent and axis."""
        return self.config.factor

    @property
    def multiple(self) -> int:
        """What the edges of a box must be multiples of."""
        return self.config.multiple

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _reach(self, name: str) -> tuple[int, int]:
        return self.config.networks[name].reach

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        with self._autocast():
            return self.networks[name](x).float()

    @torch.inference_mode()
    def encode(self, shell: Shell, sampled: bool = True, compared: bool = True) -> Encoded:
        """Encode a shell.

        Not ``sampled``, the residual form spares what samples alone need; not ``compared`` with
        the training data either, it spares the codes.
        """
        stack = self.stack(shell)
        numbers_BK = inputs.conditions(shell.description)[None].to(self.device)
        kept = shell.brain, shell.description, shell.noise_3V.cpu()
        if self.config.form == "residual" and not sampled:
            distance = self.quantized(stack)[1][0].cpu() if compared else None
            return Encoded(*kept, self.mean(stack, numbers_BK)[0].cpu(), None, distance)
        encoding = self.encode_stack(stack, numbers_BK)
        mean = None if encoding.mean is None else encoding.mean[0].cpu()
        latent = encoding.latent and encoding.latent.apply(lambda tensor: tensor[0].cpu())
        return Encoded(*kept, mean, latent, None if latent is None else latent.distance)

    @torch.inference_mode()
    def regress(self, shell: Shell) -> torch.Tensor:
        """Estimate RISH (3, V) on the input's grid by the regression alone.

        Raises
        ------
        ValueError
            If the model has no regression.
        """
        if self.config.form == "direct":
            raise ValueError(f"{self.config.name}: the direct form has no regression")
        numbers_BK = inputs.conditions(shell.description)[None].to(self.device)
        root = self.mean(self.stack(shell), numbers_BK)[0]
        return Box.around(shell.brain, self.multiple).pick(inputs.from_root(root, self.scale)).cpu()

    def stack(self, shell: Shell) -> torch.Tensor:
        """Features (1, 19, X, Y, Z) of a shell, in the padded box around its brain."""
        maps = (shell.rish_3V, shell.noise_3V, shell.coherent_9V)
        # voxel by voxel: of a box that holds a head, half is air
        a, b, c = (values.to(self.device, torch.float32)[..., None, None] for values in maps)
        features = inputs.features(a, b, c, torch.ones_like(a[:1]), self.scale)[..., 0, 0]
        return Box.around(shell.brain, self.multiple).place(features)[None]

    def encode_stack(
        self, stack: torch.Tensor, numbers_BK: torch.Tensor, mean: torch.Tensor | None = None
    ) -> Encoding:
        """Encode a batch; training calls this too.

        Parameters
        ----------
        stack : Tensor (B, 19, X, Y, Z)
            From :func:`dmri7t.models.inputs.features`.
        numbers_BK : Tensor (B, 10)
            From :func:`dmri7t.models.inputs.conditions`.
        mean : Tensor (B, 3, X, Y, Z), optional
            Spares the regression where it is known.
        """
        if self.config.form == "direct":
            codes, distance, raw = self.quantized(stack)
            # the latent as it was before it became codes, as in Rombach et al. 2022
            seen = inputs.with_conditions(self.normalize(raw, "vqvae_3t"), numbers_BK)
            return Encoding(None, Latent(codes, distance, seen))
        if not self.samples_drawn:
            return Encoding(self.mean(stack, numbers_BK), None)
        codes, distance, _ = self.quantized(stack)
        mean = self.mean(stack, numbers_BK) if mean is None else mean
        fine = torch.cat([inputs.compress(stack), mean], 1)
        pooled = functional.avg_pool3d(fine, self.factor)
        coarse = torch.cat([self.normalize(codes, "vqvae_3t"), pooled], 1)
        return Encoding(mean, Latent(codes, distance, inputs.with_conditions(coarse, numbers_BK)))

    def quantized(self, stack: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Codes of features (B, 19, X, Y, Z), and what they stand for.

        Returns
        -------
        codes : Tensor (B, c, x, y, z)
        distance : Tensor (B, x, y, z)
            How far off each is.
        raw : Tensor (B, c, x, y, z)
            The latents themselves.
        """
        encoder = self.networks["vqvae_3t"]
        encode = cast(encoder.encode, self._autocast)
        raw = self.tiled(encode, inputs.encoder_image(stack), self._reach("vqvae_3t"))
        latent = quantize(raw, codebook(encoder))
        return latent, (raw - latent).norm(dim=1), raw

    def mean(self, stack: torch.Tensor, numbers_BK: torch.Tensor) -> torch.Tensor:
        """Regression mean (B, 3, X, Y, Z) as scaled roots, zero outside the mask.

        A head and its mirror image are equally likely; where the model's ``mirrors`` asks for it,
        the answers to both (along one, two or three axes) are averaged.
        """
        return self.tiled(lambda part: self._mean(part, numbers_BK), stack, self._reach("mean"))

    def _mean(self, stack: torch.Tensor, numbers_BK: torch.Tensor) -> torch.Tensor:
        seen = inputs.regression_input(stack, numbers_BK, self.config.sees)
        # once, not for every mirror image: flips keep the layout
        seen = seen.contiguous(memory_format=torch.channels_last_3d)
        axes = range(2, 2 + self.config.mirrors)
        answer = torch.zeros((), device=stack.device)
        turns = [turn for n in range(len(axes) + 1) for turn in combinations(axes, n)]
        for turn in turns:
            answer = answer + self._run("mean", seen.flip(turn)).flip(turn) / len(turns)
        root = inputs.apply_change(inputs.debiased_root(stack), answer)
        return root.clamp_min(0) * inputs.inside(stack)

    def normalize(self, latent: torch.Tensor, name: LatentName) -> torch.Tensor:
        """Bring latents (B, c, x, y, z) of a VQ-VAE to zero mean and unit spread."""
        mean, sd = self._statistics(latent, name)
        return (latent - mean) / sd

    def _denormalize(self, latent: torch.Tensor) -> torch.Tensor:
        mean, sd = self._statistics(latent, "vqvae_7t")
        return latent * sd + mean

    def _statistics(self, latent: torch.Tensor, name: LatentName) -> Iterator[torch.Tensor]:
        """Mean and standard deviation (1, c, 1, 1, 1) of a VQ-VAE's latents."""
        latents = self.config.latents[name]
        for values in (latents.mean, latents.sd):
            yield torch.tensor(values, device=latent.device).view(1, -1, 1, 1, 1)

    @torch.inference_mode()
    def diffuse(
        self,
        latent: Latent | None,
        steps: int | None = None,
        samples: int | None = None,
        seed: int = 0,
    ) -> torch.Tensor | None:
        """Sample 7T latents.

        Parameters
        ----------
        latent : Latent, optional
            Of an encoded shell.
        steps, samples : int, optional
            Default: what the model recommends; none where its result takes none.
        seed : int
            Sample i is drawn from seed and i on the CPU, so it is the same on every device.

        Returns
        -------
        Tensor (S, c, x, y, z), optional
            None where nothing is sampled.
        """
        settings = self.config.sampler
        if settings is None or latent is None:
            return None
        steps = settings.steps if steps is None else steps
        samples = self.config.samples_taken if samples is None else samples
        if not samples:
            return None
        batch = latent.apply(lambda tensor: tensor.to(self.device)[None])
        shape = batch.codes.shape
        drawn = [
            self.sample(batch, steps, sampler.draw_noise(shape, seed, i).to(self.device))
            for i in range(samples)
        ]
        return torch.cat(drawn).cpu()

    def sample(self, latent: Latent, steps: int, noise: torch.Tensor) -> torch.Tensor:
        """Sample 7T latents once for a batch; training calls this too.

        Parameters
        ----------
        latent : Latent
            Of a batch.
        steps : int
        noise : Tensor (B, c, x, y, z)

        Raises
        ------
        ValueError
            If the model is a regression.
        """
        settings = self.config.sampler
        if settings is None:
            raise ValueError(f"{self.config.name}: a regression draws no samples")
        scheduler = sampler.make_scheduler(settings.scheduler)
        network = cast(self.networks["diffusion"], self._autocast)
        reach, part = self._reach("diffusion"), 1 / self.factor

        def answer(x: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
            return self.tiled(lambda tile: network(tile, **others), x, reach, part)

        denoise = sampler.guided(answer, latent.condition, settings.guidance)
        if settings.start == "inversion":
            start = self.normalize(latent.codes, "vqvae_7t")
            noise = sampler.invert_ddim(denoise, start, steps, scheduler)
        run = sampler.sample_flow if settings.scheduler == "flow" else sampler.sample_ddim
        return self._denormalize(run(denoise, noise * settings.temperature, steps, scheduler))

    @torch.inference_mode()
    def decode(self, encoded: Encoded, latents: torch.Tensor | None) -> Decoded:
        """Decode sampled latents to RISH on the 3T grid.

        Parameters
        ----------
        encoded : Encoded
        latents : Tensor (S, c, x, y, z), optional
            From :meth:`diffuse`. Without them the regression's mean is taken for both the
            samples, of which there is one, and what is made of them.

        Raises
        ------
        ValueError
            If there is neither a mean nor a latent.
        """
        box = Box.around(encoded.brain, self.multiple)
        mean = None if encoded.mean is None else encoded.mean.to(self.device)[None]
        if latents is not None:
            images = torch.cat([self.decode_latent(c[None].to(self.device)) for c in latents])
            roots = images.clamp_min(0) if mean is None else (mean + images).clamp_min(0)
            estimate = self.combine(images[:, None], mean)[0]
        elif mean is not None:
            roots, estimate = mean, mean[0]
        else:
            raise ValueError(f"{self.config.name}: nothing to decode without samples")
        samples = [box.pick(inputs.from_root(root, self.scale)).cpu() for root in roots]
        return Decoded(torch.stack(samples), box.pick(inputs.from_root(estimate, self.scale)).cpu())

    def decode_latent(self, latent: torch.Tensor) -> torch.Tensor:
        """Decode latents (B, c, x, y, z) to what the 7T VQ-VAE carries, (B, 3, X, Y, Z)."""
        decoder = self.networks["vqvae_7t"]
        codes = quantize(latent, codebook(decoder))
        reach, part = self._reach("vqvae_7t")[0] // self.factor + 1, 1 / self.factor
        return self.tiled(cast(decoder.decode, self._autocast), codes, (reach, 1), part)

    def combine(self, images: torch.Tensor, mean: torch.Tensor | None) -> torch.Tensor:
        """Make one estimate of decoded samples; training calls this too.

        The direct form averages the samples' RISH. The residual form adds the samples' average
        to the regression mean, order by order as far as that brought validation scans nearer to
        7T (the model's ``shares``).

        Parameters
        ----------
        images : Tensor (S, B, 3, X, Y, Z)
            From :meth:`decode_latent`.
        mean : Tensor (B, 3, X, Y, Z), optional
            Of the residual form.

        Returns
        -------
        Tensor (B, 3, X, Y, Z), scaled roots.
        """
        if mean is None:
            return images.clamp_min(0).square().mean(0).sqrt()
        share = torch.tensor(self.config.shares.samples, device=mean.device)
        return (mean + share.view(3, 1, 1, 1) * images.mean(0)).clamp_min(0)

    @torch.inference_mode()
    def super_resolve(
        self,
        encoded: Encoded,
        decoded: Decoded,
        brain_out: Brain,
        upsampling: Upsampling = "model",
        estimate: ShellEstimate | None = None,
    ) -> Generated:
        """Bring decoded RISH to the output grid.

        Parameters
        ----------
        encoded : Encoded
        decoded : Decoded
        brain_out : Brain
            Of the output.
        upsampling : {"model", "bspline"}
            bspline leaves the network out (the paper's ablation), as does a model without one.
        estimate : ShellEstimate, optional
            RISH of the scan itself, and what part of the model's they take; default: all.
        """
        made = self.resolve(encoded, decoded, brain_out, upsampling, estimate)
        root, sd = made.root, made.terms[TERMS.index("spread")].sqrt()
        calibration = self.config.calibration
        if calibration:
            sd = root_sd(made.terms, calibration.intervals.weights)
        box, unit = Box.around(brain_out), self.scale.view(3, 1, 1, 1)
        cone_V, direction = None, calibration and calibration.intervals.direction
        if direction and made.order2 is not None:
            parts_KV, order2_5V = box.pick(made.terms[:, 1]), box.pick(made.order2)
            cone_V = direction_cone(order2_5V, parts_KV, direction).cpu()
        return Generated(
            box.pick(inputs.from_root(root, self.scale)).cpu(),
            box.pick(rish_sd(root * unit, sd * unit)).cpu(),
            box.pick(inputs.from_root(made.model_root, self.scale)).cpu(),
            cone_V,
        )

    @torch.inference_mode()
    def resolve(
        self,
        encoded: Encoded,
        decoded: Decoded,
        brain_out: Brain,
        upsampling: Upsampling = "model",
        estimate: ShellEstimate | None = None,
    ) -> Resolved:
        """Bring decoded RISH to the output's box; calibration calls this too.

        Parameters
        ----------
        encoded, decoded, brain_out, upsampling, estimate
            As in :meth:`super_resolve`.
        """
        box, box_out = Box.around(encoded.brain), Box.around(brain_out)
        fine = BoxSpline(box, box_out)
        unit = self.scale[:, None]
        ratios = brain_out.voxel_sizes / encoded.brain.voxel_sizes
        root = fine(decoded.estimate_3V.to(self.device).sqrt() / unit)
        noise = fine(encoded.noise_3V.to(self.device).sqrt() / unit)
        samples = decoded.samples_S3V.to(self.device).sqrt() / unit
        spread = torch.zeros_like(root)
        if len(samples) > 1:
            spread = fine(samples.std(0))
        inside = torch.as_tensor(box_out.brain.mask, device=self.device)
        share = torch.tensor(self.config.shares.super_resolution, device=self.device)
        if upsampling == "model" and "super_resolution" in self.networks and share.any():
            numbers_BK = inputs.conditions(encoded.description)[None].to(self.device)
            finer = self.refine(root, noise, inside, numbers_BK, float(np.mean(ratios)))
            root = torch.lerp(root, finer, share.view(3, 1, 1, 1))
        model_root, order2 = root, None
        if estimate is not None:
            fine_sh, own = (made.to(self.device) for made in estimate.finer(fine.signed))
            own = own / unit[..., None, None].square()
            root = model_root = estimate.levelled(root, own, inside, fine.signed, 1 / ratios)
            root = mixed_rish(own, root.square(), estimate.rish_shares).sqrt()
            order2 = fine_sh[ORDER_2] / unit[1] if len(fine_sh) >= ORDER_2.stop else None
        return Resolved(root, model_root, terms(root, spread, noise, inside), order2)

    def refine(
        self,
        root: torch.Tensor,
        noise: torch.Tensor,
        inside: torch.Tensor,
        numbers_BK: torch.Tensor,
        ratio: float,
    ) -> torch.Tensor:
        """Run the super-resolution network on up-sampled roots of one scan, (3, X, Y, Z).

        Parameters
        ----------
        root, noise, inside, numbers_BK, ratio
            As in :func:`dmri7t.models.inputs.refinement_stack`, without the batch.
        """

        def finer(part: torch.Tensor) -> torch.Tensor:
            seen = (part[:, :3], part[:, 3:6], part[:, 6:])
            stack = inputs.refinement_stack(*seen, numbers_BK, [ratio])
            return (seen[0] + self._run("super_resolution", stack)).clamp_min(0)

        seen = torch.cat([root, noise, inside.to(root)[None]])[None]
        return self.tiled(finer, seen, self._reach("super_resolution"))[0]
