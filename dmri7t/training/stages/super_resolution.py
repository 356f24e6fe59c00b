"""The super-resolution network, which learns on what the other stages generate."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from dmri7t.models import inputs
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch, Item, Patches, TrainingData
from dmri7t.training.folder import PREPARED, WorkFolder
from dmri7t.training.loss import masked_error
from dmri7t.training.settings import SuperResolutionSettings
from dmri7t.training.stages.base import TrainingStage, channels_last

FINE = 32
"""Largest edge of the crops of the 7T grid that it learns on, voxels."""


class SuperResolutionStage(TrainingStage):
    """Super-resolution of what the trained stages generate, against 7T on its own grid.

    It learns on what they give with full shares: the samples' whole average is added to the
    regression. How much of it a result takes in the end is fitted to the finished model
    (:mod:`dmri7t.calibration.shares`), and so is how much of this network's change; less of the
    samples leaves an image that is smoother, and easier to refine, than those seen here.

    """

    settings: SuperResolutionSettings

    def examples(self, data: TrainingData) -> Sequence[Item]:
        """As many as the settings say, from all subjects, however few."""
        n_wanted = self.settings.examples or len(data.training)
        return data.training[:: max(1, len(data.training) // n_wanted)][:n_wanted]

    def patches(self, items: Sequence[Item]) -> Patches:
        """Tensors with crops of the 7T grid."""
        fine = min(FINE, *(min(item.example.mask_high.shape) for item in items))
        return Patches(items, self.translator.config.scale, fine)

    def prepare(self, work: WorkFolder, data: TrainingData) -> None:
        """Generate what it learns on, as the app will."""
        super().prepare(work, data)
        chain = self._chain()
        for part, items in (("training", self.examples(data)), ("validation", data.validation)):
            work.add_images(
                f"{self.name}/{PREPARED}/{part}",
                "generated",
                items,
                lambda item: generate(chain, self.batch(item)),
            )

    def _chain(self) -> Translator:
        """The trained stages, with the sampler's settings that this one asks for."""
        sampler, asked = self.translator.config.sampler, self.settings
        if sampler is None:
            return self.translator
        temperature = sampler.temperature if asked.temperature is None else asked.temperature
        steps = asked.sampler_steps or sampler.steps
        sampler = attrs.evolve(sampler, temperature=temperature, steps=steps)
        return self.translator.evolve(sampler=sampler)

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Error on the 7T grid."""
        stack = inputs.refinement_stack(
            batch["fine_root"],
            batch["fine_noise"],
            batch["fine_mask"],
            batch["conditions"],
            batch["ratio"].tolist(),
        )
        change = self.network(channels_last(stack)).float()
        estimate = batch["fine_root"] + change
        return {"loss": masked_error(estimate, batch["fine_target"], batch["fine_mask"])}


def generate(translator: Translator, batch: Batch) -> torch.Tensor:
    """What trained stages make of a batch, as the app will: scaled roots (B, 3, X, Y, Z)."""
    encoding = translator.encode_stack(batch["stack"], batch["conditions"], batch.get("mean"))
    mean, latent, settings = encoding.mean, encoding.latent, translator.config.sampler
    if settings is None or latent is None:
        assert mean is not None, "a model without latents is a regression"
        return mean
    images = []
    for _ in range(settings.samples):
        noise = torch.randn_like(latent.codes)
        images.append(translator.decode_latent(translator.sample(latent, settings.steps, noise)))
    return translator.combine(torch.stack(images), mean) * inputs.inside(batch["stack"])
