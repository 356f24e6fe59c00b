"""Whether maps of RISH look like the truth's: their fine detail, not their error.

The answer of least error is smoother than any truth. What a sample is drawn for is the texture,
so it is judged by measures that blur raises and that error leaves alone: how much power there is
at fine frequencies, and how small patches are distributed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from dmri7t.signal.resample import bounding_box, box_slices

SPECTRUM = "dB"
"""Metric: root mean square over fine frequencies of the ratio of powers, answer to truth."""

WASSERSTEIN = "Wasserstein"
"""Metric: sliced Wasserstein distance of small patches, in standard deviations of the truth."""

TEXTURE = (SPECTRUM, WASSERSTEIN)
"""Both metrics."""

TEXTURE_MAPS = ("R0", "R2", "R4")
"""Maps whose texture is compared, by their square roots."""

COARSEST = 0.125
"""Cycles a voxel above which detail is fine: waves of eight voxels."""

BINS = 6
"""Of the fine frequencies, up to half a cycle a voxel."""

PATCH = 3
"""Edge of a patch, voxels."""

PATCHES = 4096
"""Patches that are compared, drawn once for an answer and its truth."""

DIRECTIONS = 64
"""Directions in the space of patches along which distributions are compared."""


def texture_metrics(
    answer: dict[str, torch.Tensor], truth: dict[str, torch.Tensor], counted: np.ndarray
) -> dict[str, float]:
    """How unlike the texture of maps is; keys such as ``dB R2`` and ``Wasserstein R2``.

    Parameters
    ----------
    answer, truth : dict of Tensor (X, Y, Z)
        RISH by name.
    counted : ndarray of bool (X, Y, Z)
        Voxels that count.

    Returns
    -------
    dict
        Empty where the voxels that count hold no patch.
    """
    box = box_slices(*bounding_box(counted))
    inside = torch.as_tensor(counted[box])
    places = _whole_patches(inside)
    if not len(places):
        return {}
    out = {}
    for name in TEXTURE_MAPS:
        if name not in answer:
            continue
        made, true = (maps[name][box].clamp_min(0).sqrt() for maps in (answer, truth))
        if not bool(made[inside].any()):
            # an order that was not fitted has no texture
            continue
        out[f"{SPECTRUM} {name}"] = spectrum_distance(made, true, inside)
        out[f"{WASSERSTEIN} {name}"] = patch_distance(made, true, places)
    return out


def spectrum_distance(answer: torch.Tensor, truth: torch.Tensor, inside: torch.Tensor) -> float:
    """Root mean square, over bins of fine frequencies, of ``10 log10(P_answer / P_truth)``.

    Parameters
    ----------
    answer, truth : Tensor (X, Y, Z)
    inside : Tensor (X, Y, Z) of bool
        Outside, images are their mean; a Hann window fades them at the box's faces.
    """
    frequency = torch.stack(
        torch.meshgrid(*(torch.fft.fftfreq(n) for n in inside.shape), indexing="ij")
    ).norm(dim=0)
    edges = torch.linspace(COARSEST, 0.5, BINS + 1)
    number = torch.bucketize(frequency, edges)
    powers = []
    for image in (answer, truth):
        spread = torch.where(inside, image - image[inside].mean(), 0.0).double()
        for axis, n in enumerate(inside.shape):
            window = torch.hann_window(n + 2, periodic=False, dtype=torch.float64)[1:-1]
            spread = spread * window.view([-1 if a == axis else 1 for a in range(3)])
        power = torch.fft.fftn(spread).abs().square()
        powers.append(torch.stack([power[number == bin_].sum() for bin_ in range(1, BINS + 1)]))
    tiny = torch.finfo(torch.float64).tiny
    ratio = (powers[0].clamp_min(tiny) / powers[1].clamp_min(tiny)).log10()
    return float((10 * ratio).square().mean().sqrt())


def patch_distance(answer: torch.Tensor, truth: torch.Tensor, places: torch.Tensor) -> float:
    """Sliced Wasserstein distance of patches over the standard deviation of the truth.

    Patches are points of 27 dimensions. Along random directions both sets are sorted, and the
    mean difference of what has the same rank is taken (Rabin et al. 2011); the mean over
    directions is returned.

    Parameters
    ----------
    answer, truth : Tensor (X, Y, Z)
    places : Tensor (P,)
        Flat positions, among those of patches that fit into the image, of the ones that count.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = places[torch.randperm(len(places), generator=generator)[:PATCHES]]
    direction_KD = torch.randn(PATCH**3, DIRECTIONS, generator=generator)
    direction_KD = direction_KD / direction_KD.norm(dim=0)
    sorted_PD = [(_patches(v)[chosen] @ direction_KD).sort(0).values for v in (answer, truth)]
    scale = float(_patches(truth)[chosen].std())
    return float((sorted_PD[0] - sorted_PD[1]).abs().mean()) / max(scale, 1e-12)


def _patches(image: torch.Tensor) -> torch.Tensor:
    """All patches of an image (X, Y, Z), (P, 27)."""
    for axis in range(3):
        image = image.unfold(axis, PATCH, 1)
    return image.reshape(-1, PATCH**3)


def _whole_patches(inside: torch.Tensor) -> torch.Tensor:
    """Flat positions of patches that lie within the voxels that count."""
    if min(inside.shape) < PATCH:
        return torch.empty(0, dtype=torch.long)
    outside = functional.max_pool3d((~inside)[None].float(), PATCH, 1)[0]
    return torch.nonzero(outside.flatten() == 0).squeeze(1)
