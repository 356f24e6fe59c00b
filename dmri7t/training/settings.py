"""What a recipe says of the data and of each stage; reading it needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import attrs
from attrs.validators import ge, gt, optional

from dmri7t.models.fitted import Scalar, StageRecord
from dmri7t.models.plain import to_plain

NetworkName = Literal["mean", "vqvae_3t", "vqvae_7t", "diffusion", "super_resolution"]
"""What a network is for."""


PATCH = 32
"""Edge of an example of own scans, 3T voxels."""

PATCHES = 24
"""Examples of each shell of own scans."""


@attrs.frozen(kw_only=True)
class DataSettings:
    """Which examples are simulated, and how many are cut from a lab's own scans.

    Parameters
    ----------
    seeds, first_seed : int
        Simulated blocks for training, two scans each: how many, and the seed of the first.
    validation_seeds, first_validation_seed : int
        The same for validation.
    patch : int
        Edge of an example of own scans, 3T voxels.
    patches : int
        Examples of each shell of own scans.
    """

    seeds: int = attrs.field(validator=ge(1))
    first_seed: int = attrs.field(validator=ge(0))
    validation_seeds: int = attrs.field(validator=ge(1))
    first_validation_seed: int = attrs.field(validator=ge(0))
    patch: int = attrs.field(default=PATCH, validator=ge(8))
    patches: int = attrs.field(default=PATCHES, validator=ge(1))


@attrs.frozen(kw_only=True)
class StageSettings:
    """What every stage is given.

    Parameters
    ----------
    steps : int
        0: the network stays what it started from.
    batch : int
        Examples of a step, for each process.
    learning_rate : float
        The highest of one cycle.
    start_from : str, optional
        An earlier network of the same form whose weights this one starts from.
    save_every, validate_every : int
        Steps between checkpoints, and between validations.
    """

    steps: int = attrs.field(validator=ge(0))
    batch: int = attrs.field(validator=ge(1))
    learning_rate: float = attrs.field(validator=gt(0))
    start_from: NetworkName | None = None
    save_every: int = attrs.field(default=100, validator=ge(1))
    validate_every: int = attrs.field(default=200, validator=ge(1))

    def record(self) -> StageRecord:
        """What the model's record says of the stage."""
        options: dict[str, Scalar] = to_plain(self)
        fixed: dict[str, Any] = {
            name: options.pop(name) for name in ("steps", "batch", "learning_rate")
        }
        return StageRecord(**fixed, options=options)


@attrs.frozen(kw_only=True)
class RegressionSettings(StageSettings):
    """What the regression's stage is given.

    Parameters
    ----------
    adversarial : float
        Weight of a discriminator's verdict in the loss; 0: there is none.
    discriminator_channels : int
        Of its first layer.
    """

    adversarial: float = attrs.field(default=0.0, validator=ge(0))
    discriminator_channels: int = attrs.field(default=32, validator=ge(1))


@attrs.frozen(kw_only=True)
class SuperResolutionSettings(StageSettings):
    """What the super-resolution's stage is given.

    Parameters
    ----------
    examples : int, optional
        How many it learns on, spread over all subjects; None: all.
    temperature : float, optional
        Of the samples that it learns on; None: the model's own.
    sampler_steps : int, optional
        Of these samples; None: the model's own.
    """

    examples: int | None = attrs.field(default=None, validator=optional(ge(1)))
    temperature: float | None = attrs.field(default=None, validator=optional(ge(0)))
    sampler_steps: int | None = attrs.field(default=None, validator=optional(ge(1)))


@attrs.frozen(kw_only=True)
class Stages:
    """Settings of each network's stage, in the order of training."""

    mean: RegressionSettings | None = None
    vqvae_3t: StageSettings | None = None
    vqvae_7t: StageSettings | None = None
    diffusion: StageSettings | None = None
    super_resolution: SuperResolutionSettings | None = None

    def __iter__(self) -> Iterator[str]:
        """Names of those that there are, in the order of training."""
        return (field.name for field in attrs.fields(Stages) if getattr(self, field.name))

    def __getitem__(self, name: str) -> StageSettings:
        """One that there is, by its name."""
        if name not in tuple(self):
            raise KeyError(name)
        settings: StageSettings = getattr(self, name)
        return settings
