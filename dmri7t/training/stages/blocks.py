"""A VQ-VAE of one level that starts as the best linear one: principal components of blocks.

From random weights the image takes thousands of steps to come through; from here the first step
already loses no more than the components left out and the codes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import attrs
import torch
from torch import nn

EDGE = 2
"""Voxels of a block an axis."""


@attrs.frozen(kw_only=True)
class Components:
    """Of blocks of an image, with n numbers each: their channels, and 2 x 2 x 2 voxels of each.

    Parameters
    ----------
    mean : tuple of n floats
    directions : tuple of n tuples of n floats
        Orthonormal, the one with the most variance first.
    """

    mean: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]


@torch.no_grad()
def block_components(images: Iterable[torch.Tensor]) -> Components:
    """Principal components of the blocks of images (B, C, X, Y, Z) that are not empty."""
    total = squares = None
    count = 0
    for image in images:
        rows = _blocks(image).double()
        rows = rows[rows.any(1)]
        count += len(rows)
        total = rows.sum(0) + (0 if total is None else total)
        squares = rows.T @ rows + (0 if squares is None else squares)
    if total is None or squares is None or not count:
        raise ValueError("no image with a block that is not empty")
    mean = total / count
    _, directions = torch.linalg.eigh(squares / count - torch.outer(mean, mean))
    return Components(
        mean=tuple(mean.tolist()), directions=tuple(map(tuple, directions.T.flip(0).tolist()))
    )


def _blocks(image: torch.Tensor) -> torch.Tensor:
    """Blocks (N, C * 8) of an image, channel by channel."""
    n_channels = image.shape[1]
    for axis in (2, 3, 4):
        image = image.unfold(axis, EDGE, EDGE)
    return image.movedim(1, 4).reshape(-1, n_channels * EDGE**3)


@torch.no_grad()
def start_from_blocks(vqvae: Any, components: Components) -> None:
    """Let a VQ-VAE begin as a linear one, which its residual layers then improve.

    Components are dealt out to the groups of a latent so that each has its share of the
    variance.

    Parameters
    ----------
    vqvae : Module
        Of :class:`dmri7t.models.networks.Vqvae`, with one level.
    components : Components
        Of the images that it is to carry.

    Raises
    ------
    ValueError
        If it has several levels, or fewer channels than a block has numbers.
    """
    encoder, decoder = vqvae.encoder.blocks, vqvae.decoder.blocks
    mean = torch.tensor(components.mean)
    directions = torch.tensor(components.directions)
    n_numbers, n_channels = len(mean), vqvae.in_channels
    first, last, back, up = encoder[0].conv, encoder[-1].conv, decoder[0].conv, decoder[-1].conv
    strides = sum(isinstance(layer, nn.ConvTranspose3d) for layer in decoder.modules())
    if strides != 1 or first.out_channels < n_numbers:
        raise ValueError(
            f"from_blocks: wants one level of {n_numbers} channels or more, as many as a block "
            "has numbers"
        )
    code_size, groups = (
        last.out_channels,
        last.out_channels // vqvae.quantizer.quantizer.embedding_dim,
    )
    kept = directions[_dealt(min(code_size, n_numbers), groups)]
    for layer in (first, last, back, up):
        nn.init.zeros_(layer.bias)
    for layer in (last, back):
        nn.init.zeros_(layer.weight)
    first.weight[:n_numbers] = 0
    up.weight[:n_numbers] = 0
    voxels = product(range(n_channels), *[range(EDGE)] * 3)
    for number, (channel, x, y, z) in enumerate(voxels):
        # four taps a stride of two: those in the middle are the block itself
        first.weight[number, channel, 1 + x, 1 + y, 1 + z] = 1
        up.weight[number, channel, 1 + x, 1 + y, 1 + z] = 1
    up.weight[n_numbers:] *= 0.1
    last.weight[: len(kept), :n_numbers, 1, 1, 1] = kept
    last.bias[: len(kept)] = -kept @ mean
    back.weight[:n_numbers, : len(kept), 1, 1, 1] = kept.T
    # what the components left out have in the mean comes back
    back.bias[:n_numbers] = mean
    for layer in (*encoder, *decoder):
        if hasattr(layer, "conv2"):
            nn.init.zeros_(layer.conv2.conv.weight)
            nn.init.zeros_(layer.conv2.conv.bias)


def _dealt(n: int, groups: int) -> list[int]:
    """Numbers of n components, group by group, dealt to and fro.

    Examples
    --------
    >>> _dealt(8, 4)
    [0, 7, 1, 6, 2, 5, 3, 4]
    """
    rounds = [list(range(start, min(start + groups, n))) for start in range(0, n, groups)]
    hands = [row if i % 2 == 0 else row[::-1] for i, row in enumerate(rounds)]
    return [row[group] for group in range(groups) for row in hands if group < len(row)]
