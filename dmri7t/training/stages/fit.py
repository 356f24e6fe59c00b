"""The guess of a diffusion network, fitted by weighted least squares in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import attrs
import torch
from torch import nn
from torch.nn import functional

from dmri7t.models.guess import Guessing

VOXELS = 600
"""Latents of an example that are counted."""

RIDGE = 1e-3
"""Of the mean square of the features."""

FLOOR = 0.05
"""Error below which an example counts no more than others."""


@attrs.frozen(eq=False)
class Pair:
    """Latents of one example.

    Parameters
    ----------
    condition : Tensor (1, k, x, y, z)
        Begins with the 3T latent.
    clean : Tensor (1, c, x, y, z)
        The 7T latent.
    inside : Tensor (1, 1, x, y, z) of bool
    """

    condition: torch.Tensor
    clean: torch.Tensor
    inside: torch.Tensor


@torch.no_grad()
def fit_guess(network: Guessing, pairs: Iterable[Pair]) -> None:
    """Fit the last layer of a guess, and how far it is off.

    Examples count by the inverse of how far 3T and 7T latents are apart: by plain squares, a
    few noisy scans would rule.

    Parameters
    ----------
    network : Guessing
        Its first layer is drawn anew.
    pairs : iterable of Pair
    """
    _draw_features(network.first, network.n_latent)
    products = targets = squares = None
    count = 0.0
    for pair in pairs:
        rows, missing = _rows(network, pair)
        weight = 1 / (FLOOR + float(missing.square().mean()))
        parts = weight * (rows.T @ rows), weight * (rows.T @ missing)
        square = weight * missing.square().sum(0)
        products = parts[0].double() + (0 if products is None else products)
        targets = parts[1].double() + (0 if targets is None else targets)
        squares = square.double() + (0 if squares is None else squares)
        count += weight * len(rows)
    if products is None or targets is None or squares is None:
        raise ValueError("no pairs to fit a guess to")
    ridge = RIDGE * products.diagonal().mean()
    eye = torch.eye(len(products), dtype=torch.float64, device=products.device)
    weights = torch.linalg.solve(products + ridge * eye, targets)
    left = squares - 2 * (weights * targets).sum(0) + (weights * (products @ weights)).sum(0)
    network.spread.copy_((left / count).clamp_min(1e-4).sqrt())
    n_linear = network.linear.weight[0].numel()
    linear, last, constant = weights.split([n_linear, len(weights) - n_linear - 1, 1])
    network.linear.weight.copy_(linear.T.reshape(network.linear.weight.shape))
    network.last.weight.copy_(last.T.reshape(network.last.weight.shape))
    bias = network.last.bias
    assert bias is not None, "the last layer has a bias"
    bias.copy_(constant[0])


def _draw_features(first: nn.Conv3d, n_latent: int) -> None:
    """Random features that look at a latent most, and at its neighbours less."""
    near = torch.tensor([0.4, 1.0, 0.4])
    fall = torch.einsum("i,j,k->ijk", near, near, near).to(first.weight.device)
    first.weight.normal_()
    first.weight.mul_(fall / (4 * n_latent) ** 0.5)
    # the scan's numbers are the same everywhere: the middle alone is read
    first.weight[:, n_latent:] = 0
    numbers = torch.randn_like(first.weight[:, n_latent:, 1, 1, 1])
    first.weight[:, n_latent:, 1, 1, 1] = 0.5 * numbers
    assert first.bias is not None, "the first layer has a bias"
    first.bias.normal_(std=0.5)


def _rows(network: Guessing, pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """What the last layer sees, (n, features), and what it should answer, (n, c)."""
    condition, inside = pair.condition, pair.inside[0, 0]
    three = condition[:, : network.n_latent]
    x, y, z = three.shape[2:]
    around = functional.pad(three, (1,) * 6)[0]
    places = product(range(3), repeat=3)
    near = [around[:, i : i + x, j : j + y, k : k + z] for i, j, k in places]
    # in the order of a convolution's weights: channel by channel, 27 places each
    linear = torch.stack(near, 1).flatten(0, 1)
    seen = torch.cat([linear, network.features(condition)[0], torch.ones_like(linear[:1])])
    missing = (pair.clean - three)[0]
    chosen = torch.nonzero(inside.flatten())[:, 0]
    chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[:VOXELS]]
    return seen.flatten(1)[:, chosen].T, missing.flatten(1)[:, chosen].T
