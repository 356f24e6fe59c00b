"""A model that another one starts from: its weights, its scale, and what it was made of."""

from __future__ import annotations

from pathlib import Path

import attrs
import torch
from torch import nn

from dmri7t.errors import ModelError
from dmri7t.models.bundle import model_checksum
from dmri7t.models.config import ModelConfig
from dmri7t.models.fitted import StageRecord, StartRecord
from dmri7t.models.translator import Translator
from dmri7t.training.data import TrainingData
from dmri7t.training.recipe import Recipe

TAUGHT = "mean"
"""The network that single 3T scans teach. What others generate would be their noise as well."""


@attrs.frozen(eq=False)
class Start:
    """A model whose weights a training starts from.

    Parameters
    ----------
    config : ModelConfig
    networks : dict of Module
    checksum : str
        Of the whole model.
    """

    config: ModelConfig
    networks: dict[str, nn.Module]
    checksum: str

    @classmethod
    def load(cls, folder: Path, wanted: ModelConfig) -> Start:
        """Read a model that has the networks of a recipe.

        Parameters
        ----------
        folder : Path
        wanted : ModelConfig
            Of the recipe.

        Raises
        ------
        ModelError
            If it cannot be read, or has other networks.
        """
        translator = Translator.load(folder, precision="float32")
        config = translator.config
        others = [
            name for name in ("form", "sees") if getattr(config, name) != getattr(wanted, name)
        ]
        names = dict.fromkeys([*config.networks, *wanted.networks])
        others += [
            name
            for name in names
            if getattr(config.networks, name) != getattr(wanted.networks, name)
        ]
        if others:
            raise ModelError(
                f"{folder}: --start: differs from the recipe in {', '.join(others)}; give a model "
                "that was trained by a recipe with the same networks."
            )
        return cls(config, translator.networks, model_checksum(folder))

    @property
    def stages(self) -> dict[str, StageRecord]:
        """How its networks were trained."""
        return self.config.training.stages

    @property
    def record(self) -> StartRecord:
        """What the new model's record says of it."""
        training = self.config.training
        return StartRecord(
            name=self.config.name,
            version=self.config.version,
            source=training.source,
            subjects=training.learned,
            start=training.start,
        )

    def passed_on(self, config: ModelConfig) -> ModelConfig:
        """What goes with the weights: scale, statistics of latents, shares.

        Widths of intervals and alarms do not: they are those of the old regression.
        """
        start = self.config
        return attrs.evolve(config, scale=start.scale, latents=start.latents, shares=start.shares)

    @torch.no_grad()
    def give(self, translator: Translator) -> None:
        """Copy the weights of all networks."""
        for name, network in translator.networks.items():
            network.load_state_dict(self.networks[name].state_dict())


def check_taught(recipe: Recipe, data: TrainingData, start: Start | None) -> None:
    """See that data can teach what a recipe names.

    Raises
    ------
    ModelError
        If single 3T scans are to teach more than a regression.
    """
    if data.scans is None:
        return
    names = list(recipe.stages)
    if TAUGHT not in names:
        raise ModelError(
            f"recipe {recipe.config.name}: --scans: teaches a regression, and this one has none; "
            "take default, cnn or gan."
        )
    if start is None and (rest := [name for name in names if name != TAUGHT]):
        raise ModelError(
            f"recipe {recipe.config.name}: --scans: teaches the regression alone, not "
            f"{', '.join(rest)}; add --start MODEL, from which these are kept, or take the recipe "
            "cnn."
        )
