"""Layers that MONAI lacks, and the codebook of its VQ-VAE.

None of them normalises over the image: with group normalisation, air in the field of view
changed the answer inside the brain, and a tile differed from the whole.
"""

from __future__ import annotations

import torch
from torch import nn

LABELS = {"3T": 0, "7T": 1, "none": 2}
"""Class labels of the diffusion model; "none" stands for guidance without a label."""


CHUNK = 16384
"""Rows whose codes are looked up at once: their distances to 512 codes take 34 MB."""


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


class Bounded(nn.Module):
    """Networks in a row, whose last answer is bounded.

    Parameters
    ----------
    limit : float
        The answer stays within plus and minus this.
    **parts : Module
        In order; a model's weights lie under their names.
    """

    def __init__(self, limit: float, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, X, Y, Z) to (B, out, X, Y, Z)."""
        for part in self.children():
            x = part(x)
        return self.limit * torch.tanh(x / self.limit)


def codebook(vqvae: nn.Module) -> torch.Tensor:
    """Return the codes (K, c) of a VQ-VAE; c is a group's share of a latent's channels."""
    return vqvae.get_parameter("quantizer.quantizer.embedding.weight")


def nearest(rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Index (N,) of the code (K, c) that is nearest to each row (N, c)."""
    # a row's own square is the same for all codes
    return torch.addmm(codes.square().sum(1), rows, codes.t(), beta=-0.5).argmax(1)


def quantize(latent: torch.Tensor, codes: torch.Tensor, chunk: int = CHUNK) -> torch.Tensor:
    """Replace every latent vector, group by group of its channels, by the nearest code.

    In chunks: MONAI's own way holds a one-hot row of all codes for every latent.

    Parameters
    ----------
    latent : Tensor (B, groups * c, x, y, z)
    codes : Tensor (K, c)
    """
    flat = latent.movedim(1, -1).reshape(-1, codes.shape[1]).to(codes.dtype)
    index = torch.cat([nearest(part, codes) for part in flat.split(chunk)])
    shape = (latent.shape[0], *latent.shape[2:], latent.shape[1])
    return codes[index].reshape(shape).movedim(-1, 1)
