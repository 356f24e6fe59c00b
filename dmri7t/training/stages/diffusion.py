"""The latent diffusion model: rectified flow, or noise prediction for DDIM."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from dmri7t.models import inputs
from dmri7t.models.guess import Guessing
from dmri7t.models.layers import LABELS
from dmri7t.models.sampler import make_scheduler
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch, TrainingData
from dmri7t.training.folder import WorkFolder
from dmri7t.training.settings import StageSettings
from dmri7t.training.stages.base import TrainingStage, channels_last
from dmri7t.training.stages.fit import Pair, fit_guess
from dmri7t.training.stages.vqvae import encode, image_7t, some_of

HIDDEN = 0.1
"""Chance that label and condition are hidden, for classifier-free guidance."""

N_TIMES = 1000
"""Times from clean latents to noise."""

GUESSED = 140
"""Examples that a guess is fitted to."""


class DiffusionStage(TrainingStage):
    """The diffusion model of 7T latents; of 3T latents too where sampling inverts them."""

    def __init__(self, translator: Translator, name: str, settings: StageSettings) -> None:
        super().__init__(translator, name, settings)
        sampler = translator.config.sampler
        assert sampler is not None  # a model with diffusion has one
        self.flow = sampler.scheduler == "flow"
        self.inverts = sampler.start == "inversion"
        # MONAI's flow scheduler is a module that never ran its own set-up: keep it unregistered
        self.__dict__["scheduler"] = make_scheduler(sampler.scheduler)
        self.scheduler: Any

    def prepare(self, work: WorkFolder, data: TrainingData) -> None:
        """Fit the guess, where the network has one."""
        super().prepare(work, data)
        if isinstance(self.network, Guessing):
            # every process fits the same
            items = some_of(self.examples(data), GUESSED)
            fit_guess(self.network, map(self._pair, self.batches(items)))

    def _pair(self, batch: Batch) -> Pair:
        """What a guess is fitted to."""
        clean, condition, _ = self._latents(batch)
        inside = functional.max_pool3d(inputs.inside(batch["stack"]), self.translator.factor)
        return Pair(condition, clean, inside > 0)

    @torch.no_grad()
    def _latents(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean latents, condition and labels."""
        translator = self.translator
        seven = encode(translator.networks["vqvae_7t"], image_7t(translator, batch))
        labels = torch.full((len(seven),), LABELS["7T"], device=seven.device)
        encoding = translator.encode_stack(batch["stack"], batch["conditions"], batch.get("mean"))
        assert encoding.latent is not None, "a regression has no diffusion stage"
        clean, condition = seven, encoding.latent.condition
        if self.inverts:
            clean = torch.cat([seven, encoding.latent.codes])
            condition = torch.cat([condition, condition])
            labels = torch.cat([labels, torch.full_like(labels, LABELS["3T"])])
        return translator.normalize(clean, "vqvae_7t"), condition, labels

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Squared error of the predicted velocity (flow) or noise (DDIM).

        Where there is a guess, late times are more frequent: there the image is decided.
        """
        clean, condition, labels = self._latents(batch)
        noise = torch.randn_like(clean)
        if self.flow:
            time = self.scheduler.sample_timesteps(clean)
            if isinstance(self.network, Guessing):
                time = (time * N_TIMES).sqrt()
            answer = clean - noise
        else:
            time = torch.randint(N_TIMES, (len(clean),), device=clean.device)
            answer = noise
        hidden = torch.rand(len(clean), device=clean.device) < HIDDEN
        labels = torch.where(hidden, LABELS["none"], labels)
        condition = condition * (~hidden).view(-1, 1, 1, 1, 1)
        noisy = self.scheduler.add_noise(original_samples=clean, noise=noise, timesteps=time)
        seen = channels_last(torch.cat([noisy, condition], 1))
        if isinstance(self.network, Guessing):
            # in units of how far the guess is off
            expected, off, predicted = self.network.parts(seen, time, labels)
            answer = (answer - expected) / off
        else:
            predicted = self.network(seen, timesteps=time, class_labels=labels).float()
        return {"loss": functional.mse_loss(predicted, answer)}
