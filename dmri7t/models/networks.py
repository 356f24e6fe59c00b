"""The networks of a model: what decides each one, how it is built, how far it looks.

A network that is not here yet is one more record in this file, and a recipe that names its
``kind``. Torch is loaded only when one is built: who reads a model's description needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol

import attrs
from attrs.validators import ge, gt

if TYPE_CHECKING:
    from torch import nn

POSITIVE = ge(1)
"""Of counts."""


def check_levels(record: object, field: attrs.Attribute, channels: tuple[int, ...]) -> None:
    """Refuse channels that name no level, or one without channels."""
    if not channels or min(channels) < 1:
        raise ValueError(f"{field.name!r} should name one level or more, of 1 channel or more each")


class Network(Protocol):
    """What every record of a network answers."""

    @property
    def kind(self) -> str:
        """Tells the records apart in a file."""

    @property
    def reach(self) -> tuple[int, int]:
        """How far an answer looks, and what tiles must be multiples of, in voxels of its input."""

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Build it, for so many channels of its input and of its answer."""


@attrs.frozen(kw_only=True)
class UNet:
    """MONAI's residual U-Net, with a bounded answer and no normalisation.

    Parameters
    ----------
    channels : tuple of int
        Of each level; every level but the first halves the grid.
    limit : float
        The answer stays within plus and minus this.
    res_units : int
        Residual convolutions a level.

    Examples
    --------
    >>> UNet(channels=(32, 64, 128), limit=3.0).reach
    (26, 4)
    """

    kind: Literal["unet"] = "unet"
    channels: tuple[int, ...] = attrs.field(validator=check_levels)
    limit: float = attrs.field(validator=gt(0))
    res_units: int = attrs.field(default=2, validator=POSITIVE)

    @property
    def reach(self) -> tuple[int, int]:
        """How far an answer looks, and what tiles must be multiples of, voxels."""
        steps, units = len(self.channels) - 1, self.res_units
        reach = units * 2**steps
        for level in range(steps):
            fine, coarse = 2**level, 2 ** (level + 1)
            # down: one convolution that strides, the rest beyond it; up: transposed, then one
            reach += fine + (units - 1) * coarse + coarse + fine
        return reach, 2**steps

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Build it, for so many channels of its input and of its answer."""
        from monai.networks.nets import UNet as MonaiUNet

        from dmri7t.models.layers import Bounded

        body = MonaiUNet(
            spatial_dims=3,
            in_channels=n_in,
            out_channels=n_out,
            channels=self.channels,
            strides=[2] * (len(self.channels) - 1),
            num_res_units=self.res_units,
            norm=None,  # type: ignore[arg-type]  # which MONAI takes, though it does not say so
            act="relu",
        )
        return Bounded(self.limit, body=body)


@attrs.frozen(kw_only=True)
class ResidualNet:
    """Residual convolutions at one resolution, with a bounded answer that starts at zero.

    Parameters
    ----------
    width : int
        Channels.
    blocks : int
        Residual units of two convolutions.
    limit : float
        The answer stays within plus and minus this.

    Examples
    --------
    >>> ResidualNet(width=16, blocks=2, limit=1.5).reach
    (6, 1)
    """

    kind: Literal["residual"] = "residual"
    width: int = attrs.field(validator=POSITIVE)
    blocks: int = attrs.field(validator=POSITIVE)
    limit: float = attrs.field(validator=gt(0))

    @property
    def reach(self) -> tuple[int, int]:
        """How far an answer looks, and what tiles must be multiples of, voxels."""
        # the first convolution, two a block, the head
        return 2 + 2 * self.blocks, 1

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Build it, for so many channels of its input and of its answer."""
        from monai.networks.blocks import Convolution, ResidualUnit
        from torch import nn

        from dmri7t.models.layers import Bounded

        width = self.width
        layers: list[nn.Module] = [
            Convolution(3, n_in, width, adn_ordering="A", act="relu", norm=None)
        ]
        for _ in range(self.blocks):
            layers.append(
                ResidualUnit(
                    spatial_dims=3,
                    in_channels=width,
                    out_channels=width,
                    subunits=2,
                    adn_ordering="A",
                    act="relu",
                    norm=None,
                    last_conv_only=True,
                )
            )
        head = nn.Conv3d(width, n_out, 3, padding=1)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        return Bounded(self.limit, body=nn.Sequential(*layers), head=head)


@attrs.frozen(kw_only=True)
class Vqvae:
    """MONAI's VQ-VAE (van den Oord et al. 2017), halving the grid once a channel entry.

    Parameters
    ----------
    channels : tuple of int
        Of each level.
    codes : int
        In its codebook.
    code_size : int
        Channels of a latent.
    groups : int
        Parts that these are cut into; each takes a code of its own, all from one codebook.
    res_layers : int
        Residual layers a level.

    Raises
    ------
    ValueError
        If the channels of a latent cannot be cut into so many parts.

    Examples
    --------
    >>> vqvae = Vqvae(channels=(32, 64), codes=512, code_size=8)
    >>> vqvae.factor, vqvae.reach
    (4, (22, 4))
    """

    kind: Literal["vqvae"] = "vqvae"
    channels: tuple[int, ...] = attrs.field(validator=check_levels)
    codes: int = attrs.field(validator=POSITIVE)
    code_size: int = attrs.field(validator=POSITIVE)
    groups: int = attrs.field(default=1, validator=POSITIVE)
    res_layers: int = attrs.field(default=1, validator=POSITIVE)

    def __attrs_post_init__(self) -> None:
        if self.code_size % self.groups:
            raise ValueError(
                f"'groups' is {self.groups}, which does not divide the code_size {self.code_size}"
            )

    @property
    def factor(self) -> int:
        """Voxels of the image per latent and axis."""
        return 2 ** len(self.channels)

    @property
    def reach(self) -> tuple[int, int]:
        """Reach of its encoder or of its decoder, whichever is more, in voxels of the image."""
        steps = len(self.channels)
        reach = 2**steps
        for level in range(steps):
            # four taps over two voxels, then two convolutions a residual layer
            reach += 2 * 2**level + 2 * self.res_layers * 2 ** (level + 1)
        return reach, 2**steps

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Build it, for so many channels of its input and of its answer."""
        from monai.networks.layers.vector_quantizer import VectorQuantizer
        from monai.networks.nets import VQVAE

        from dmri7t.models.quantizer import GroupQuantizer

        n = len(self.channels)
        network = VQVAE(
            spatial_dims=3,
            in_channels=n_in,
            out_channels=n_out,
            channels=self.channels,
            num_res_layers=self.res_layers,
            num_res_channels=self.channels,
            downsample_parameters=((2, 4, 1, 1),) * n,
            upsample_parameters=((2, 4, 1, 1, 0),) * n,
            num_embeddings=self.codes,
            embedding_dim=self.code_size,
        )
        quantizer = GroupQuantizer(
            spatial_dims=3,
            num_embeddings=self.codes,
            embedding_dim=self.code_size // self.groups,
            decay=0.99,
            ddp_sync=False,
        )
        network.quantizer = VectorQuantizer(quantizer)
        return network


@attrs.frozen(kw_only=True)
class DiffusionUNet:
    """MONAI's diffusion U-Net over latents, class-conditional and local.

    Its norms become local (see :func:`dmri7t.models.layers.localize`), and the attention that
    MONAI puts into the middle of every U-Net goes: it compares every latent of a brain with
    every other, which for a whole head takes 13 GB and a minute a step.

    Parameters
    ----------
    channels : tuple of int
        Of each level; every level but the first halves the grid of latents.
    res_blocks : int
        A level.
    features : int
        Of the guess that its answer is added to, see :mod:`dmri7t.models.guess`; 0: there is none.
    """

    kind: Literal["diffusion"] = "diffusion"
    channels: tuple[int, ...] = attrs.field(validator=check_levels)
    res_blocks: int = attrs.field(default=1, validator=POSITIVE)
    features: int = attrs.field(default=0, validator=ge(0))

    @property
    def reach(self) -> tuple[int, int]:
        """How far an answer looks, and what tiles must be multiples of, in latents."""
        steps, blocks = len(self.channels) - 1, self.res_blocks
        # in and out; two residual blocks of two convolutions in the middle; the guess's neighbours
        reach = 2 + 4 * 2**steps + (1 if self.features else 0)
        for level in range(steps + 1):
            # going down: so many blocks; coming up: one more
            reach += (2 * blocks + 2 * (blocks + 1)) * 2**level
            if level < steps:
                # the step down, and the convolution after the step up
                reach += 2**level + 2 * 2**level
        return reach, 2**steps

    def build(self, n_in: int, n_out: int) -> nn.Module:
        """Build it, for latents and their condition in one, and for latents alone."""
        from monai.networks.nets import DiffusionModelUNet
        from torch import nn

        from dmri7t.models.guess import Guessing
        from dmri7t.models.layers import LABELS, localize

        network = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=n_in + (n_out if self.features else 0),
            out_channels=n_out,
            num_res_blocks=self.res_blocks,
            channels=self.channels,
            attention_levels=(False,) * len(self.channels),
            norm_num_groups=8,
            num_class_embeds=len(LABELS),
        )
        network.middle_block.attention = nn.Identity()
        local = localize(network)
        return Guessing(local, n_in, n_out, self.features) if self.features else local


@attrs.frozen(kw_only=True)
class Networks:
    """Networks of a model by what each is for; which of them there are follows from its form."""

    mean: UNet | ResidualNet | None = None
    vqvae_3t: Vqvae | None = None
    vqvae_7t: Vqvae | None = None
    diffusion: DiffusionUNet | None = None
    super_resolution: ResidualNet | None = None

    def __iter__(self) -> Iterator[str]:
        """Names of those that there are, in the order of the stages."""
        return (field.name for field in attrs.fields(Networks) if getattr(self, field.name))

    def __getitem__(self, name: str) -> Network:
        """One that there is, by its name."""
        if name not in tuple(self):
            raise KeyError(name)
        network: Network = getattr(self, name)
        return network
