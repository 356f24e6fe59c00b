"""The latent diffusion model: rectified flow, or noise prediction for DDIM."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from dmri7t.models.layers import LABELS
from dmri7t.models.sampler import make_scheduler
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch
from dmri7t.training.settings import StageSettings
from dmri7t.training.stages.base import TrainingStage, channels_last
from dmri7t.training.stages.vqvae import encode, image_7t

HIDDEN = 0.1
"""Chance that label and condition are hidden, for classifier-free guidance."""

N_TIMES = 1000
"""Times of the noise that DDIM's network predicts."""


class DiffusionStage(TrainingStage):
    """The diffusion model of 7T latents, or in the direct form of 3T and 7T latents by label."""

    def __init__(self, translator: Translator, name: str, settings: StageSettings) -> None:
        super().__init__(translator, name, settings)
        sampler = translator.config.sampler
        assert sampler is not None  # a model with diffusion has one
        self.flow = sampler.scheduler == "flow"
        # MONAI's flow scheduler is a module that never ran its own set-up: keep it unregistered
        self.__dict__["scheduler"] = make_scheduler(sampler.scheduler)
        self.scheduler: Any

    @torch.no_grad()
    def _latents(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean latents, condition and labels."""
        translator = self.translator
        seven = encode(translator.networks["vqvae_7t"], image_7t(translator, batch))
        labels = torch.full((len(seven),), LABELS["7T"], device=seven.device)
        encoding = translator.encode_stack(batch["stack"], batch["conditions"], batch.get("mean"))
        assert encoding.latent is not None, "a regression has no diffusion stage"
        if translator.config.form == "residual":
            return translator.normalize(seven, "vqvae_7t"), encoding.latent.condition, labels
        three = encoding.latent.codes
        clean = torch.cat([seven, three])
        labels = torch.cat([labels, torch.full_like(labels, LABELS["3T"])])
        return translator.normalize(clean, "vqvae_7t"), clean[:, :0], labels

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Squared error of the predicted velocity (flow) or noise (DDIM)."""
        clean, condition, labels = self._latents(batch)
        noise = torch.randn_like(clean)
        if self.flow:
            time = self.scheduler.sample_timesteps(clean)
            answer = clean - noise
        else:
            time = torch.randint(N_TIMES, (len(clean),), device=clean.device)
            answer = noise
        hidden = torch.rand(len(clean), device=clean.device) < HIDDEN
        labels = torch.where(hidden, LABELS["none"], labels)
        condition = condition * (~hidden).view(-1, 1, 1, 1, 1)
        noisy = self.scheduler.add_noise(original_samples=clean, noise=noise, timesteps=time)
        seen = channels_last(torch.cat([noisy, condition], 1))
        predicted = self.network(seen, timesteps=time, class_labels=labels).float()
        return {"loss": functional.mse_loss(predicted, answer)}
