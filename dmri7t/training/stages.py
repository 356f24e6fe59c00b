"""The stages of a training, one Lightning module each, in the paper's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn import functional

from dmri7t.models import inputs
from dmri7t.models.networks import LABELS, codebook, localize, quantize
from dmri7t.models.sampler import make_scheduler
from dmri7t.models.translator import Translator

EDGE = 2
"""Voxels at a patch's border that do not count: the network saw no neighbours there."""


FLOOR = 0.02
"""Errors much below this (in units of each order) gain nothing more."""


def masked_error(estimate: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Loss on scaled roots, the mean over scans and orders of two logarithms.

    One is of the squared error of the root, the other of the NMSE of RISH itself: the root
    alone is blind to what the tables measure, RISH alone to all but the brightest voxels. The
    logarithm lets a clean scan count as much as a noisy one, whose error is a thousand times
    larger.

    Parameters
    ----------
    estimate, target : Tensor (B, 3, X, Y, Z)
    mask : Tensor (B, 1, X, Y, Z)
    """
    inner = (..., *[slice(EDGE, -EDGE)] * 3)
    estimate, target, mask = estimate[inner], target[inner], mask[inner]
    voxels = mask.sum((2, 3, 4)).clamp_min(1)
    root = ((estimate - target).square() * mask).sum((2, 3, 4)) / voxels
    rish = ((estimate.square() - target.square()).square() * mask).sum((2, 3, 4)) / voxels
    power = (target.pow(4) * mask).sum((2, 3, 4)) / voxels + FLOOR
    return (FLOOR + root).log().mean() + 0.5 * (FLOOR + rish / power).log().mean()


class Stage(L.LightningModule):
    """Common ground: one network that learns, the rest of the translator frozen.

    Parameters
    ----------
    translator : Translator
        All networks; shared by the stages.
    name : str
        The network that this stage trains.
    settings : dict
        steps, batch, learning_rate.
    """

    def __init__(self, translator: Translator, name: str, settings: dict[str, Any]) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.network = translator.networks[name]
        # kept out of the module's own state: only the network that learns is checkpointed
        self.__dict__["translator"] = translator

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of a batch."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """Lightning's hook."""
        value = self.loss(batch)
        self.log("loss", value, prog_bar=True)
        return value

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """Lightning's hook."""
        size = len(batch["stack"])
        value = self.loss(batch)
        self.log("validation_loss", value, on_epoch=True, sync_dist=True, batch_size=size)

    def configure_optimizers(self) -> Any:
        """Lightning's hook: AdamW, one cycle."""
        rate = self.settings["learning_rate"]
        learn = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learn, lr=rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=self.settings["steps"] + 1, pct_start=0.1
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class MeanStage(Stage):
    """Regression of 7T roots on the 3T grid."""

    def estimate(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Debiased root plus the network's change, (B, 3, X, Y, Z)."""
        stack = batch["stack"]
        sees = self.translator.config.get("sees", "all")
        seen = inputs.regression_input(stack, batch["conditions"], sees)
        answer = self.network(seen.contiguous(memory_format=torch.channels_last_3d)).float()
        return inputs.apply_change(inputs.debiased_root(stack), answer)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Error of the estimate."""
        return masked_error(self.estimate(batch), batch["target"], inputs.inside(batch["stack"]))


class AdversarialStage(MeanStage):
    """The same regression against a conditional patch discriminator (Isola et al. 2017).

    Both learn in the same step, by least squares (Mao et al. 2017): what comes through the
    discriminator teaches the generator with the discriminator's weights held, and the
    discriminator with the generator's answer held. One optimiser keeps a resumed training exact.
    """

    def __init__(self, translator: Translator, name: str, settings: dict[str, Any]) -> None:
        super().__init__(translator, name, settings)
        from monai.networks.nets import PatchDiscriminator

        self.discriminator = localize(
            PatchDiscriminator(
                spatial_dims=3,
                channels=settings["discriminator_channels"],
                in_channels=3 + inputs.N_PLAIN,
                num_layers_d=2,
                norm=("GROUP", {"num_groups": 1}),
            )
        )

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Error of the estimate, plus both sides of the game."""
        stack = batch["stack"]
        mask = inputs.inside(stack)
        estimate = self.estimate(batch)
        error = masked_error(estimate, batch["target"], mask)
        if not self.training:
            return error
        known = inputs.plain(stack)
        fake, real = (torch.cat([image * mask, known], 1) for image in (estimate, batch["target"]))
        held = {
            name: value.detach()
            for name, value in [
                *self.discriminator.named_parameters(),
                *self.discriminator.named_buffers(),
            ]
        }
        fooled = torch.func.functional_call(self.discriminator, held, (fake,))[-1].float()
        judged = [self.discriminator(x)[-1].float() for x in (real, fake.detach())]
        game = (judged[0] - 1).square().mean() + judged[1].square().mean()
        self.log("discriminator_loss", game)
        return error + self.settings["adversarial"] * (fooled - 1).square().mean() + game


def mean_stage(translator: Translator, name: str, settings: dict[str, Any]) -> MeanStage:
    """Regression, adversarial where the settings weigh a discriminator."""
    kind = AdversarialStage if "adversarial" in settings else MeanStage
    return kind(translator, name, settings)


def residual(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What is missing from the mean, as scaled roots (B, 3, X, Y, Z)."""
    return (batch["target"] - batch["mean"]) * inputs.inside(batch["stack"])


class VqvaeStage(Stage):
    """A VQ-VAE, of 3T roots, of 7T roots, or of the 7T residual; dead codes are restarted."""

    restart_every = 50

    def __init__(self, translator: Translator, name: str, settings: dict[str, Any]) -> None:
        super().__init__(translator, name, settings)
        # counted in the checkpoint too
        self.register_buffer("restarted", torch.zeros(()))

    def image(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What this VQ-VAE carries."""
        if self.name == "vqvae_3t":
            return inputs.encoder_image(batch["stack"])
        if self.translator.config["form"] == "residual":
            return residual(batch)
        return batch["target"]

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Squared error of the reconstruction plus the commitment."""
        image = self.image(batch)
        network = self.network
        latent = network.encode(image.contiguous(memory_format=torch.channels_last_3d))
        codes, commitment = network.quantize(latent)
        error = functional.mse_loss(network.decode(codes).float(), image)
        if self.training:
            self._care_for_codes(latent.detach())
            self.log("restarted_codes", self.restarted)
        return error + commitment

    def _care_for_codes(self, latent: torch.Tensor) -> None:
        """Log the codebook's perplexity; move unused codes onto latents of this batch."""
        quantizer = self.network.quantizer.quantizer
        usage = quantizer.ema_cluster_size
        share = usage / usage.sum().clamp_min(1e-6)
        self.log("perplexity", torch.exp(-(share * (share + 1e-10).log()).sum()), prog_bar=True)
        # late restarts would leave the decoder no time to learn the new codes
        early = self.global_step < 0.8 * self.settings["steps"]
        if self.global_step % self.restart_every or not early:
            return
        dead = torch.nonzero(share < 0.02 / len(share)).flatten()
        flat = latent.movedim(1, -1).reshape(-1, latent.shape[1]).float()
        if len(dead) == 0:
            return
        chosen = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
        if self.trainer.world_size > 1:
            # all processes keep one codebook
            torch.distributed.broadcast(chosen, 0)
        size = usage.mean().clamp_min(1.0)
        quantizer.embedding.weight.data[dead] = chosen
        quantizer.ema_w.data[dead] = chosen * size
        usage[dead] = size
        self.restarted += len(dead)


class DiffusionStage(Stage):
    """The latent diffusion model: rectified flow, or noise prediction for DDIM.

    With chance 0.1 the label and the condition are hidden, for classifier-free guidance.
    """

    hide = 0.1

    def __init__(self, translator: Translator, name: str, settings: dict[str, Any]) -> None:
        super().__init__(translator, name, settings)
        # MONAI's flow scheduler is a module that never ran its own set-up: keep it unregistered
        self.__dict__["scheduler"] = make_scheduler(translator.config["sampler"]["scheduler"])

    def _latents(
        self, batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean latents, condition and labels."""
        translator = self.translator
        with torch.no_grad():
            if translator.config["form"] == "residual":
                clean = latents_7t(translator, residual(batch))
                stack = batch["stack"]
                encoded = translator.encode_stack(stack, batch["conditions"], batch["mean"])
                condition = encoded["condition"]
                labels = torch.full((len(clean),), LABELS["7T"], device=clean.device)
            else:
                seven = latents_7t(translator, batch["target"])
                three = translator.encode_stack(batch["stack"], batch["conditions"])["latent"]
                clean = torch.cat([seven, three])
                condition = clean[:, :0]
                labels = torch.tensor(
                    [LABELS["7T"]] * len(seven) + [LABELS["3T"]] * len(three), device=clean.device
                )
            return translator.normalize(clean, "7t"), condition, labels

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Squared error of the predicted velocity (flow) or noise (DDIM)."""
        clean, condition, labels = self._latents(batch)
        noise = torch.randn_like(clean)
        if self.translator.config["sampler"]["scheduler"] == "flow":
            time = self.scheduler.sample_timesteps(clean)
            answer = clean - noise
        else:
            time = torch.randint(1000, (len(clean),), device=clean.device)
            answer = noise
        hidden = torch.rand(len(clean), device=clean.device) < self.hide
        labels = torch.where(hidden, LABELS["none"], labels)
        condition = condition * (~hidden).view(-1, 1, 1, 1, 1)
        noisy = self.scheduler.add_noise(original_samples=clean, noise=noise, timesteps=time)
        seen = torch.cat([noisy, condition], 1).contiguous(memory_format=torch.channels_last_3d)
        predicted = self.network(seen, timesteps=time, class_labels=labels).float()
        return functional.mse_loss(predicted, answer)


def latents_7t(translator: Translator, image: torch.Tensor) -> torch.Tensor:
    """Quantised latents (B, c, x, y, z) of what the 7T VQ-VAE carries."""
    vqvae = translator.networks["vqvae_7t"]
    latent = vqvae.encode(image.contiguous(memory_format=torch.channels_last_3d)).float()
    return quantize(latent, codebook(vqvae))


class SuperResolutionStage(Stage):
    """The super-resolution network, on what the diffusion stage generated."""

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Error on the 7T grid."""
        stack = inputs.refinement_stack(
            batch["fine_root"],
            batch["fine_noise"],
            batch["fine_mask"],
            batch["conditions"],
            batch["ratio"].tolist(),
        )
        change = self.network(stack.contiguous(memory_format=torch.channels_last_3d)).float()
        return masked_error(batch["fine_root"] + change, batch["fine_target"], batch["fine_mask"])


STAGES: dict[str, Callable[[Translator, str, dict[str, Any]], Stage]] = {
    "mean": mean_stage,
    "vqvae_3t": VqvaeStage,
    "vqvae_7t": VqvaeStage,
    "diffusion": DiffusionStage,
    "super_resolution": SuperResolutionStage,
}
"""What makes the module that trains each network."""


def freeze(network: nn.Module) -> None:
    """Stop a network from learning further."""
    network.requires_grad_(False)
    network.eval()
