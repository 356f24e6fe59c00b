"""What a recipe says of the data and of each stage; reading it needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import attrs
from attrs.validators import and_, ge, gt, lt, optional

from dmri7t.models.fitted import Scalar, StageRecord
from dmri7t.models.plain import to_plain

NetworkName = Literal["mean", "vqvae_3t", "vqvae_7t", "diffusion", "super_resolution"]
"""What a network is for."""


PATCH = 32
"""Edge of an example of own scans, 3T voxels."""

PATCHES = 24
"""Examples of each shell of own scans."""

SIMULATED_PART = 0.5
"""Part of simulated blocks beside single 3T scans: those alone do not cover other scanners."""


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
    simulated_part : float, optional
        Part of the examples that are simulated where single 3T scans are learned from; default:
        :data:`SIMULATED_PART`.
    """

    seeds: int = attrs.field(validator=ge(1))
    first_seed: int = attrs.field(validator=ge(0))
    validation_seeds: int = attrs.field(validator=ge(1))
    first_validation_seed: int = attrs.field(validator=ge(0))
    patch: int = attrs.field(default=PATCH, validator=ge(8))
    patches: int = attrs.field(default=PATCHES, validator=ge(1))
    simulated_part: float | None = attrs.field(default=None, validator=optional(and_(ge(0), lt(1))))


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
    average : float
        Of the weights over the steps: how much of it stays at each. What is validated, and kept in
        the end, is the average. 0: the last weights.
    stored : {"float32", "float16"}
        Precision of the weights in the model's folder.
    save_every, validate_every : int
        Steps between checkpoints, and between validations.
    """

    steps: int = attrs.field(validator=ge(0))
    batch: int = attrs.field(validator=ge(1))
    learning_rate: float = attrs.field(validator=gt(0))
    start_from: NetworkName | None = None
    average: float = attrs.field(default=0.0, validator=[ge(0), lt(1)])
    stored: Literal["float32", "float16"] = "float32"
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
class VqvaeSettings(StageSettings):
    """What a VQ-VAE's stage is given.

    Parameters
    ----------
    from_blocks : bool
        Start as the principal components of the image's blocks instead of at random; for networks
        of one level.
    decoder_only : bool
        Encoder and codebook stay as they are, so that 3T and 7T latents mean the same.
    """

    from_blocks: bool = False
    decoder_only: bool = False


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
    vqvae_3t: VqvaeSettings | None = None
    vqvae_7t: VqvaeSettings | None = None
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
