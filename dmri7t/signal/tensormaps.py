"""FA, MD and principal direction of a scan, slab by slab."""

from __future__ import annotations

import numpy as np
import torch

from dmri7t.signal.rows import take_rows
from dmri7t.signal.tensor import (
    fit_tensor,
    fractional_anisotropy,
    mean_diffusivity,
    principal_direction,
)

SLAB = 262144
"""Voxels that are fitted at once."""


def tensor_maps(
    dwi_NV: torch.Tensor, bvals_N: np.ndarray, directions_N3: np.ndarray, rows: list[int]
) -> dict[str, torch.Tensor]:
    """Fit the tensor to some volumes of a scan.

    Parameters
    ----------
    dwi_NV : Tensor (N, V)
    bvals_N : ndarray (N,)
        s/mm2.
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    rows : list of int
        Volumes that take part.

    Returns
    -------
    dict
        fa (V,), md (V,) in mm2/s, direction (V, 3).
    """
    bvals, directions = np.asarray(bvals_N)[rows], np.asarray(directions_N3)[rows]
    parts: dict[str, list[torch.Tensor]] = {"fa": [], "md": [], "direction": []}
    for first in range(0, dwi_NV.shape[1], SLAB):
        slab_NV = take_rows(dwi_NV[:, first : first + SLAB], rows)
        tensor_6V = fit_tensor(slab_NV, bvals, directions)
        parts["fa"].append(fractional_anisotropy(tensor_6V))
        parts["md"].append(mean_diffusivity(tensor_6V))
        parts["direction"].append(principal_direction(tensor_6V))
    return {name: torch.cat(slabs) for name, slabs in parts.items()}
