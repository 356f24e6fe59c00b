"""The loss of networks that answer with an image."""

from __future__ import annotations

import torch

EDGE = 2
"""Voxels at a patch's border that do not count: the network saw no neighbours there."""

FLOOR = 0.02
"""Errors much below this (in units of each order) gain nothing more."""


def masked_error(estimate: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Loss on scaled roots, the mean over scans and orders of two logarithms.

    One is of the squared error of the root, the other of the NMSE of RISH itself: the root
    alone is blind to what the tables measure, RISH alone to all but the brightest voxels. The
    logarithm lets a clean scan count as much as a noisy one, whose error is a thousand times
    larger.

    Parameters
    ----------
    estimate, target : Tensor (B, 3, X, Y, Z)
    mask : Tensor (B, 1, X, Y, Z)

    Returns
    -------
    Tensor ()
    """
    estimate, target, mask = (_inner(image) for image in (estimate, target, mask))
    voxels = mask.sum((2, 3, 4)).clamp_min(1)
    root = ((estimate - target).square() * mask).sum((2, 3, 4)) / voxels
    rish = ((estimate.square() - target.square()).square() * mask).sum((2, 3, 4)) / voxels
    power = (target.pow(4) * mask).sum((2, 3, 4)) / voxels + FLOOR
    return (FLOOR + root).log().mean() + 0.5 * (FLOOR + rish / power).log().mean()


def _inner(image: torch.Tensor) -> torch.Tensor:
    within = slice(EDGE, -EDGE)
    return image[..., within, within, within]
