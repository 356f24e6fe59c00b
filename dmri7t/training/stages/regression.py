"""The regression of 7T from 3T, alone or against a discriminator."""

from __future__ import annotations

import torch

from dmri7t.models import inputs
from dmri7t.models.config import N_ORDERS, N_PLAIN
from dmri7t.models.fitted import Codebook
from dmri7t.models.layers import localize
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch, Item, TrainingData
from dmri7t.training.folder import CONCLUDED, WorkFolder
from dmri7t.training.loss import masked_error
from dmri7t.training.settings import RegressionSettings
from dmri7t.training.stages.base import TrainingStage, channels_last


class RegressionStage(TrainingStage):
    """Regression of 7T roots on the 3T grid."""

    def estimate(self, batch: Batch) -> torch.Tensor:
        """Debiased root plus the network's change, (B, 3, X, Y, Z)."""
        stack = batch["stack"]
        sees = self.translator.config.sees
        seen = inputs.regression_input(stack, batch["conditions"], sees)
        answer = self.network(channels_last(seen)).float()
        return inputs.apply_change(inputs.debiased_root(stack), answer)

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Error of the estimate."""
        return {"loss": error_of(self.estimate(batch), batch)}

    def conclude(self, work: WorkFolder, data: TrainingData) -> Codebook | None:
        """Keep the regression's answers for stages that learn what they lack."""
        # from single scans this network alone learns
        if self.translator.samples_drawn and data.scans is None:
            for part, items in (("training", data.training), ("validation", data.validation)):
                work.add_images(f"{self.name}/{CONCLUDED}/{part}", "mean", items, self._mean)
        return None

    def _mean(self, item: Item) -> torch.Tensor:
        batch = self.batch(item)
        return self.translator.mean(batch["stack"], batch["conditions"])


class AdversarialStage(RegressionStage):
    """The same regression against a conditional patch discriminator (Isola et al. 2017).

    Both learn in the same step, by least squares (Mao et al. 2017): what comes through the
    discriminator teaches the generator with the discriminator's weights held, and the
    discriminator with the generator's answer held. One optimiser keeps a resumed training exact.
    """

    def __init__(self, translator: Translator, name: str, settings: RegressionSettings) -> None:
        super().__init__(translator, name, settings)
        self.adversarial = settings.adversarial
        from monai.networks.nets import PatchDiscriminator

        self.discriminator = localize(
            PatchDiscriminator(
                spatial_dims=3,
                channels=settings.discriminator_channels,
                in_channels=N_ORDERS + N_PLAIN,
                num_layers_d=2,
                norm=("GROUP", {"num_groups": 1}),
            )
        )

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Error of the estimate, plus both sides of the game."""
        stack = batch["stack"]
        mask = inputs.inside(stack)
        estimate = self.estimate(batch)
        error = error_of(estimate, batch)
        if not self.training:
            return {"loss": error}
        condition = inputs.plain(stack)
        fake, real = (
            torch.cat([image * mask, condition], 1) for image in (estimate, batch["target"])
        )
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
        deceit = self.adversarial * (fooled - 1).square().mean()
        return {"loss": error + deceit + game, "discriminator_loss": game.detach()}


def error_of(estimate: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Loss of an estimate (B, 3, X, Y, Z) by what a batch's targets show and are."""
    mask = inputs.inside(batch["stack"])
    return masked_error(estimate, batch["target"], mask, batch["shown"], batch["measured"])


def regression_stage(
    translator: Translator, name: str, settings: RegressionSettings
) -> RegressionStage:
    """Make the stage of a regression, adversarial where the settings weigh a discriminator."""
    kind = AdversarialStage if settings.adversarial else RegressionStage
    return kind(translator, name, settings)
