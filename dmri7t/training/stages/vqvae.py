"""The VQ-VAEs, of 3T and of 7T."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import attrs
import torch
from torch.nn import functional

from dmri7t.models import inputs
from dmri7t.models.config import LatentName
from dmri7t.models.fitted import Codebook, Latents
from dmri7t.models.layers import codebook, quantize
from dmri7t.models.plain import from_plain, to_plain
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch, Item, TrainingData
from dmri7t.training.folder import CONCLUDED, PREPARED, WorkFolder
from dmri7t.training.settings import VqvaeSettings
from dmri7t.training.stages.base import TrainingStage, channels_last
from dmri7t.training.stages.blocks import Components, block_components, start_from_blocks

RESTART_EVERY = 50
"""Steps between restarts of dead codes."""

RESTARTS = 0.8
"""Part of the steps in which codes are restarted: late ones would leave the decoder no time."""

DEAD = 0.02
"""Part of an even share of the latents below which a code is dead."""

COUNTED = 24
"""Examples that the statistics of latents are taken over."""

BLOCKED = 30
"""Examples that the components of blocks are taken over."""


@attrs.frozen(kw_only=True)
class Statistics:
    """Of a VQ-VAE's latents."""

    latents: Latents
    codebook: Codebook


class VqvaeStage(TrainingStage):
    """A VQ-VAE; dead codes are restarted.

    Under several processes the codebook counts the latents of all.
    """

    settings: VqvaeSettings

    field: ClassVar[LatentName]
    """Its name in the model."""

    may_mix = False  # a codebook's distances need more digits than bfloat16 has

    def __init__(self, translator: Translator, name: str, settings: VqvaeSettings) -> None:
        super().__init__(translator, name, settings)
        # counted in the checkpoint too
        self.register_buffer("restarted", torch.zeros(()))
        self.restarted: torch.Tensor
        self.codes.ddp_sync = True

    @property
    def codes(self) -> Any:
        """MONAI's codebook, whose codes are moving averages of what they stand for."""
        return self.network.quantizer.quantizer

    def image(self, batch: Batch) -> torch.Tensor:
        """What this VQ-VAE carries, (B, 3, X, Y, Z)."""
        raise NotImplementedError

    def prepare(self, work: WorkFolder, data: TrainingData) -> None:
        """Start from another network, or from the principal components of blocks."""
        super().prepare(work, data)
        if self.settings.from_blocks:
            kept = f"{self.name}/{PREPARED}/blocks.json"
            some = some_of(self.examples(data), BLOCKED)
            numbers = work.once(
                kept, lambda: to_plain(block_components(map(self.image, self.batches(some))))
            )
            start_from_blocks(self.network, from_plain(Components, numbers))
        if self.settings.decoder_only:
            self.network.get_submodule("encoder").requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Codes move in training, unless they are to stay."""
        super().train(mode)
        if self.settings.decoder_only:
            self.network.get_submodule("quantizer").eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Squared error of the reconstruction plus the commitment."""
        image = self.image(batch)
        latent = self.network.encode(channels_last(image))
        codes, commitment = self.network.quantize(latent)
        loss = functional.mse_loss(self.network.decode(codes).float(), image) + commitment
        if not self.training or self.settings.decoder_only:
            return {"loss": loss}
        share = self._shares()
        if step % RESTART_EVERY == 0 and step < RESTARTS * self.settings.steps:
            self._restart(share < DEAD / len(share), latent.detach())
        restarted = self.restarted.clone()
        return {"loss": loss, "perplexity": perplexity(share), "restarted_codes": restarted}

    def _shares(self) -> torch.Tensor:
        """Part of the latents that each code stood for lately, (K,)."""
        usage = self.codes.ema_cluster_size
        return usage / usage.sum().clamp_min(1e-6)

    def _restart(self, dead: torch.Tensor, latent: torch.Tensor) -> None:
        """Move the codes of a mask (K,) onto latents of this batch."""
        n_dead = int(dead.sum())
        if not n_dead:
            return
        flat = latent.movedim(1, -1).reshape(-1, self.codes.embedding_dim).float()
        chosen = flat[torch.randint(len(flat), (n_dead,), device=flat.device)]
        if torch.distributed.is_initialized():
            # all processes keep one codebook
            torch.distributed.broadcast(chosen, 0)
        size = self.codes.ema_cluster_size.mean().clamp_min(1.0)
        self.codes.embedding.weight.data[dead] = chosen
        self.codes.ema_w.data[dead] = chosen * size
        self.codes.ema_cluster_size[dead] = size
        self.restarted += n_dead

    def conclude(self, work: WorkFolder, data: TrainingData) -> Codebook:
        """Take the statistics of the latents, which the diffusion stage normalises by."""
        kept = f"{self.name}/{CONCLUDED}/latents.json"
        numbers = work.once(kept, lambda: to_plain(self._statistics(data.training)))
        statistics = from_plain(Statistics, numbers)
        config = self.translator.config
        latents = {**config.latents, self.field: statistics.latents}
        # the translator is the same for all stages
        self.translator.config = attrs.evolve(config, latents=latents)
        return statistics.codebook

    @torch.no_grad()
    def _statistics(self, items: Sequence[Item]) -> Statistics:
        """Mean and spread of each latent channel, and how many codes are in use."""
        some = some_of(items, COUNTED)
        parts = [encode(self.network, self.image(batch)) for batch in self.batches(some)]
        latent = torch.cat(parts).movedim(1, -1).reshape(-1, parts[0].shape[1])
        taken = latent.reshape(-1, self.codes.embedding_dim)
        _, counts = torch.unique(taken, dim=0, return_counts=True)
        share = perplexity(counts.double() / counts.sum())
        return Statistics(
            latents=Latents(
                mean=tuple(latent.mean(0).tolist()),
                sd=tuple(latent.std(0).clamp_min(1e-3).tolist()),
            ),
            codebook=Codebook(codes_in_use=len(counts), perplexity=round(float(share), 1)),
        )


class Vqvae3T(VqvaeStage):
    """The VQ-VAE of 3T roots; it learns from 3T scans without a 7T side too."""

    field = "vqvae_3t"
    paired = False

    def examples(self, data: TrainingData) -> Sequence[Item]:
        """Pairs and 3T scans alone."""
        return [*data.training, *data.unpaired]

    def image(self, batch: Batch) -> torch.Tensor:
        """Debiased roots."""
        return inputs.encoder_image(batch["stack"])


class Vqvae7T(VqvaeStage):
    """The VQ-VAE of 7T roots, or of what the regression lacks of them."""

    field = "vqvae_7t"

    def image(self, batch: Batch) -> torch.Tensor:
        """See :func:`image_7t`."""
        return image_7t(self.translator, batch)


def image_7t(translator: Translator, batch: Batch) -> torch.Tensor:
    """What the 7T VQ-VAE carries, as scaled roots (B, 3, X, Y, Z)."""
    if translator.config.form == "residual":
        return (batch["target"] - batch["mean"]) * inputs.inside(batch["stack"])
    return batch["target"]


def some_of(items: Sequence[Item], n: int) -> Sequence[Item]:
    """About so many items, spread over all."""
    return items[:: max(1, len(items) // n)]


def encode(vqvae: Any, image: torch.Tensor) -> torch.Tensor:
    """Quantised latents (B, c, x, y, z) of what a VQ-VAE carries."""
    return quantize(vqvae.encode(channels_last(image)).float(), codebook(vqvae))


def perplexity(share: torch.Tensor) -> torch.Tensor:
    """How many codes are in use, by the shares (K,) of latents that they stand for."""
    return torch.exp(-(share * (share + 1e-10).log()).sum())
