"""The networks of a translator, built from MONAI's parts.

None of them normalises over the image: with group normalisation, air in the field of view
changed the answer inside the brain, and a tile differed from the whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class ChannelNorm(nn.Module):
    """Normalise the channels of each voxel by itself, with a learned scale and shift.

    Stands where MONAI's U-Net has GroupNorm, whose statistics run over the image.
    """

    def __init__(self, n_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, ...) over C."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = (x.square().mean(1, keepdim=True) + self.eps).rsqrt()
        return x * scale * self.weight.view(shape) + self.bias.view(shape)


def localize(network: nn.Module) -> nn.Module:
    """Replace every GroupNorm within a network by :class:`ChannelNorm`; returns the network."""
    for name, child in network.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(network, name, ChannelNorm(child.num_channels))
        else:
            localize(child)
    return network


class ResidualNet(nn.Module):
    """Residual convolutions at one resolution, with a bounded answer that starts at zero.

    Parameters
    ----------
    in_channels, out_channels, width, blocks : int
    limit : float
        The answer stays within plus and minus this.
    """

    def __init__(
        self, in_channels: int, out_channels: int, width: int, blocks: int, limit: float
    ) -> None:
        super().__init__()
        from monai.networks.blocks import Convolution, ResidualUnit

        unit = {"spatial_dims": 3, "norm": None, "adn_ordering": "A", "act": "relu"}
        layers = [Convolution(in_channels=in_channels, out_channels=width, **unit)]
        for _ in range(blocks):
            layers.append(
                ResidualUnit(
                    in_channels=width, out_channels=width, subunits=2, last_conv_only=True, **unit
                )
            )
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv3d(width, out_channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, X, Y, Z) to (B, out, X, Y, Z)."""
        return self.limit * torch.tanh(self.head(self.body(x)) / self.limit)


class BoundedUNet(nn.Module):
    """MONAI's residual U-Net, with a bounded answer and no normalisation.

    Parameters
    ----------
    in_channels, out_channels : int
    channels : list of int
        Of each level; every level but the first halves the grid.
    res_units : int
        Residual convolutions a level.
    limit : float
        The answer stays within plus and minus this.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: list[int],
        limit: float,
        res_units: int = 2,
    ) -> None:
        super().__init__()
        from monai.networks.nets import UNet

        self.body = UNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            strides=[2] * (len(channels) - 1),
            num_res_units=res_units,
            norm=None,
            act="relu",
        )
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, X, Y, Z) to (B, out, X, Y, Z)."""
        return self.limit * torch.tanh(self.body(x) / self.limit)


def build_vqvae(
    channels: list[int], codes: int, code_size: int, res_layers: int = 1, in_channels: int = 3
) -> nn.Module:
    """Build MONAI's VQ-VAE (van den Oord et al. 2017), halving the grid once a channel entry."""
    from monai.networks.nets import VQVAE

    n = len(channels)
    return VQVAE(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=in_channels,
        channels=channels,
        num_res_layers=res_layers,
        num_res_channels=channels,
        downsample_parameters=((2, 4, 1, 1),) * n,
        upsample_parameters=((2, 4, 1, 1, 0),) * n,
        num_embeddings=codes,
        embedding_dim=code_size,
        decay=0.99,
        ddp_sync=False,
    )


def codebook(vqvae: nn.Module) -> torch.Tensor:
    """Return the codes (K, c) of a VQ-VAE."""
    return vqvae.quantizer.quantizer.embedding.weight


def quantize(latent: torch.Tensor, codes: torch.Tensor, chunk: int = 65536) -> torch.Tensor:
    """Replace every latent vector by the nearest code.

    In chunks: MONAI's own way holds a one-hot row of all codes for every latent.

    Parameters
    ----------
    latent : Tensor (B, c, x, y, z)
    codes : Tensor (K, c)
    """
    flat = latent.movedim(1, -1).reshape(-1, codes.shape[1]).to(codes.dtype)
    index = torch.cat([torch.cdist(part, codes).argmin(1) for part in flat.split(chunk)])
    shape = (latent.shape[0], *latent.shape[2:], codes.shape[1])
    return codes[index].reshape(shape).movedim(-1, 1)


LABELS = {"3T": 0, "7T": 1, "none": 2}
"""Class labels of the diffusion model; "none" stands for guidance without a label."""


def build_diffusion(
    latent_channels: int, condition_channels: int, channels: list[int], res_blocks: int = 1
) -> nn.Module:
    """Build MONAI's diffusion U-Net over latents, class-conditional and local.

    Its norms become local (see :func:`localize`), and the attention that MONAI puts into the
    middle of every U-Net goes: it compares every latent of a brain with every other, which for
    a whole head takes 13 GB and a minute a step.
    """
    from monai.networks.nets import DiffusionModelUNet

    network = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=latent_channels + condition_channels,
        out_channels=latent_channels,
        num_res_blocks=res_blocks,
        channels=channels,
        attention_levels=(False,) * len(channels),
        norm_num_groups=8,
        num_class_embeds=len(LABELS),
    )
    network.middle_block.attention = nn.Identity()
    return localize(network)


def build(kind: str, settings: dict[str, Any]) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    kind : str
        mean, unet, super_resolution, vqvae or diffusion; a ``kind`` among the settings rules.
    settings : dict
        Of the builder.
    """
    builders = {
        "mean": ResidualNet,
        "unet": BoundedUNet,
        "super_resolution": ResidualNet,
        "vqvae": build_vqvae,
        "diffusion": build_diffusion,
    }
    given = dict(settings)
    return builders[given.pop("kind", kind)](**given)
