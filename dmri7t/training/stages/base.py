"""What all stages of a training share: one network that learns, the others at rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import nn

from dmri7t.models.fitted import Codebook
from dmri7t.models.translator import Translator
from dmri7t.training.data import Batch, Item, Patches, TrainingData
from dmri7t.training.folder import WorkFolder
from dmri7t.training.settings import StageSettings


class TrainingStage(nn.Module):
    """A stage: what it prepares, what it learns from, its loss, and what it leaves to later ones.

    The driver asks in this order: :meth:`prepare`, :meth:`examples` and :meth:`patches`, the
    module itself for the loss of every batch, and :meth:`conclude` once the network is trained.

    Parameters
    ----------
    translator : Translator
        All networks; shared by the stages.
    name : str
        The network that this stage trains.
    settings : StageSettings
    """

    paired: ClassVar[bool] = True
    """Whether it looks at the 7T side of its examples."""

    may_mix: ClassVar[bool] = True
    """Whether bfloat16 has digits enough for it."""

    def __init__(self, translator: Translator, name: str, settings: StageSettings) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.network = translator.networks[name]
        # kept out of the module's own state: only the network that learns is checkpointed
        self.__dict__["translator"] = translator
        self.translator: Translator

    @property
    def mixed(self) -> bool:
        """Whether to compute in bfloat16 where that is the faster."""
        return self.may_mix and self.translator.precision == "bfloat16"

    def prepare(self, work: WorkFolder, data: TrainingData) -> None:
        """Before the training: start from another network's weights, where the settings say so."""
        if self.settings.start_from is not None:
            source = self.translator.networks[self.settings.start_from]
            self.network.load_state_dict(source.state_dict())

    def examples(self, data: TrainingData) -> Sequence[Item]:
        """What it learns from."""
        return data.training

    def patches(self, items: Sequence[Item]) -> Patches:
        """Tensors of items, as the stage wants to see them."""
        return Patches(items, self.translator.config.scale, paired=self.paired)

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Loss of a batch, and what else is to be logged, without gradients.

        Parameters
        ----------
        batch : dict of Tensor
            See :class:`dmri7t.training.data.Patches`.
        step : int
            From 0.

        Returns
        -------
        dict
            loss, and others by their name in the log; scalars.
        """
        raise NotImplementedError

    def conclude(self, work: WorkFolder, data: TrainingData) -> Codebook | None:
        """After the training: make what later stages need.

        Returns
        -------
        Codebook, optional
            How well it is used, where the network has one.
        """
        return None

    def batch(self, item: Item) -> Batch:
        """Batch of one item as it lies, without crops of the 7T grid, on the network's device."""
        example = Patches([item], self.translator.config.scale, paired=self.paired)[0]
        return {name: value[None].to(self.translator.device) for name, value in example.items()}

    def batches(self, items: Sequence[Item]) -> Iterator[Batch]:
        """Yield the batch of every item."""
        for item in items:
            yield self.batch(item)


def channels_last(image: torch.Tensor) -> torch.Tensor:
    """Lay an image (B, C, X, Y, Z) out as convolutions like it."""
    return image.contiguous(memory_format=torch.channels_last_3d)
