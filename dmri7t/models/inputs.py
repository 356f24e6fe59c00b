"""What the networks are given: square roots of RISH in units of each order, and the scan.

The square root makes noise about the same everywhere; one scale an order brings all three to
the same size.
"""

from __future__ import annotations

import math

import torch

from dmri7t.models.config import N_PLAIN, Sight
from dmri7t.signal.describe import Description
from dmri7t.signal.rish import debias

TAIL = 6.0
"""Roots beyond this many standard deviations are noise, never anatomy."""


def conditions(description: Description) -> torch.Tensor:
    """Describe a scan by numbers of order one, (10,).

    Parameters
    ----------
    description : Description
        Of the shell: voxel sizes, b-value, directions, noise level, spread of the directions,
        and how far its noise is correlated along each axis.
    """
    numbers = [
        *(math.log(size / 1.6) for size in description.voxel_sizes),
        description.bval / 1000 - 1.3,
        0.7 * math.log(description.n_directions / 30),
        # rounding leaves a noise-free phantom with no noise level at all
        0.6 * math.log(max(description.sigma, 1e-3) / 0.05),
        math.log(min(max(description.spread, 0.1), 10.0)),
        *(2 * c for c in description.correlation),
    ]
    return torch.tensor(numbers, dtype=torch.float32)


def features(
    rish: torch.Tensor,
    noise: torch.Tensor,
    coherent: torch.Tensor,
    mask: torch.Tensor,
    scale: torch.Tensor,
) -> torch.Tensor:
    """Stack what is known of every voxel.

    Parameters
    ----------
    rish, noise : Tensor (..., 3, X, Y, Z)
        RISH and the noise's expected share of it.
    coherent : Tensor (..., 9, X, Y, Z)
        RISH together with the neighbours, see :func:`dmri7t.signal.coherence.coherent_rish`.
    mask : Tensor (..., 1, X, Y, Z)
    scale : Tensor (3,)
        Standard deviation of the root of each order.

    Returns
    -------
    Tensor (..., 19, X, Y, Z), zero outside the mask; the mask is the last.
    """
    unit = scale.view(3, 1, 1, 1)
    mask = mask.to(rish)
    parts = [rish.clamp_min(0), debias(rish, noise), noise.clamp_min(0)]
    parts += list(coherent.clamp_min(0).split(3, -4))
    return torch.cat([*(part.sqrt() / unit * mask for part in parts), mask], -4)


def with_conditions(stack: torch.Tensor, numbers_BK: torch.Tensor) -> torch.Tensor:
    """Append the conditions (B, k) as constant channels to a stack (B, C, X, Y, Z)."""
    planes = numbers_BK[:, :, None, None, None].to(stack)
    return torch.cat([stack, planes.expand(-1, -1, *stack.shape[2:])], 1)


def inside(stack: torch.Tensor) -> torch.Tensor:
    """Return the mask's channel (B, 1, ...) of a stack."""
    return stack[:, -1:]


def debiased_root(stack: torch.Tensor) -> torch.Tensor:
    """Return the debiased channels (B, 3, ...) of a stack."""
    return stack[:, 3:6]


def encoder_image(stack: torch.Tensor) -> torch.Tensor:
    """What the 3T VQ-VAE carries, (B, 3, ...): debiased roots, without the far tail of noise."""
    return debiased_root(stack).clamp_max(TAIL)


def compress(stack: torch.Tensor) -> torch.Tensor:
    """Draw in large values before they enter a network: the noise of order 4 has long tails."""
    return torch.asinh(stack)


def plain(stack: torch.Tensor) -> torch.Tensor:
    """RISH, their noise and the mask alone, compressed, (B, 10, ...)."""
    return compress(torch.cat([stack[:, : N_PLAIN - 1], inside(stack)], 1))


def regression_input(stack: torch.Tensor, numbers_BK: torch.Tensor, sees: Sight) -> torch.Tensor:
    """Input of the regression: (B, 29, ...) where it sees all, (B, 10, ...) where RISH alone.

    Parameters
    ----------
    stack : Tensor (B, 19, X, Y, Z)
        From :func:`features`.
    numbers_BK : Tensor (B, 10)
        From :func:`conditions`.
    sees : {"all", "rish"}
        See :data:`dmri7t.models.config.Sight`.
    """
    if sees == "rish":
        return plain(stack)
    return with_conditions(compress(stack), numbers_BK)


def apply_change(root: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Change roots (B, 3, ...) by a network's answer (B, 6, ...): a factor, and a sum.

    The factor lies between 0 and 2, so that noise of any size can be taken out; the sum is as
    bounded as the answer is. An answer of zero changes nothing.
    """
    return root * (1 + torch.tanh(answer[:, :3])) + answer[:, 3:]


def from_root(root: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Undo root and scale: RISH (..., 3, X, Y, Z)."""
    return (root.clamp_min(0) * scale.view(3, 1, 1, 1)).square()


def refinement_stack(
    root: torch.Tensor,
    noise: torch.Tensor,
    inside: torch.Tensor,
    numbers_BK: torch.Tensor,
    ratios: list[float],
) -> torch.Tensor:
    """Input of the super-resolution network, (B, 18, X, Y, Z).

    Parameters
    ----------
    root, noise : Tensor (B, 3, X, Y, Z)
        On the output's grid.
    inside : Tensor (B, 1, X, Y, Z)
    numbers_BK : Tensor (B, 10)
    ratios : list of B floats
        Output over input voxel size.
    """
    inside = inside.to(root)
    ratio = 4 * torch.log(torch.tensor(ratios, dtype=root.dtype, device=root.device))[:, None] + 0.7
    numbers = torch.cat([numbers_BK.to(root), ratio], 1)
    seen = torch.cat([root * inside, noise * inside, inside], 1)
    return with_conditions(seen, numbers)
