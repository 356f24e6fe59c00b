"""The loss of networks that answer with an image."""

from __future__ import annotations

import torch

EDGE = 2
"""Voxels at a patch's border that do not count: the network saw no neighbours there."""

FLOOR = 0.02
"""Errors much below this (in units of each order) gain nothing more."""

FAINT = 0.25
"""RISH (in units of each order) below which errors against a measured target weigh no more."""


def masked_error(
    estimate: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
    shown: torch.Tensor | None = None,
    measured: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss on scaled roots, the mean over scans and orders of two logarithms.

    One is of the squared error of the root, the other of the NMSE of RISH itself: the root
    alone is blind to what the tables measure, RISH alone to all but the brightest voxels. The
    logarithm lets a clean scan count as much as a noisy one, whose error is a thousand times
    larger.

    A measured target is right on the mean as RISH, while its root is not. There the error of the
    root is taken to first order, (r^2 - R)^2 / 4 r^2, with the network's own r below, held: no
    noise of the target moves where it is least.

    Parameters
    ----------
    estimate, target : Tensor (B, 3, X, Y, Z)
    mask : Tensor (B, 1, X, Y, Z)
    shown : Tensor (B, 3), optional
        1 for orders that the target shows; default: all.
    measured : Tensor (B,), optional
        1 for targets that were measured, noise and all; their roots are negative where RISH are;
        default: none.

    Returns
    -------
    Tensor ()
    """
    estimate, target, mask = (_inner(image) for image in (estimate, target, mask))
    voxels = mask.sum((2, 3, 4)).clamp_min(1)
    of_root = (estimate - target).square()
    of_rish = (estimate.square() - target.square()).square()
    if measured is not None:
        noisy = measured.view(-1, 1, 1, 1, 1) > 0
        signed = (estimate * estimate.abs() - target * target.abs()).square()
        weighed = signed / (4 * estimate.detach().square() + FAINT)
        of_root = torch.where(noisy, weighed, of_root)
        of_rish = torch.where(noisy, signed, of_rish)
    root = (of_root * mask).sum((2, 3, 4)) / voxels
    rish = (of_rish * mask).sum((2, 3, 4)) / voxels
    power = (target.pow(4) * mask).sum((2, 3, 4)) / voxels + FLOOR
    errors = (FLOOR + root).log() + 0.5 * (FLOOR + rish / power).log()
    if shown is None:
        return errors.mean()
    return (errors * shown).sum() / shown.sum().clamp_min(1)


def _inner(image: torch.Tensor) -> torch.Tensor:
    within = slice(EDGE, -EDGE)
    return image[..., within, within, within]
