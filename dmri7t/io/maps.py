"""Single maps between nodes: uncompressed NIfTI, one volume and its grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np

from dmri7t.io.images import load_image
from dmri7t.signal.grids import Grid

if TYPE_CHECKING:
    import torch

    from dmri7t.signal.shell import Brain


def load_map(path: Path | str) -> tuple[np.ndarray, Grid]:
    """Read a volume (X, Y, Z) and its grid."""
    image = load_image(path)
    return np.asarray(image.dataobj), Grid(image.shape, image.affine)


def load_mask(path: Path | str) -> tuple[np.ndarray, Grid]:
    """Read a mask (X, Y, Z) of bool and its grid; whatever is above one half is inside."""
    values, grid = load_map(path)
    return values > 0.5, grid


def load_brain(path: Path | str) -> Brain:
    """Read a mask and its grid as one."""
    from dmri7t.signal.shell import Brain

    return Brain(*load_mask(path))


def load_in(path: Path | str, brain: Brain) -> torch.Tensor:
    """Read a map's voxels (V,) in a brain."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(load_map(path)[0][brain.mask]))


def save_map(path: Path | str, volume: np.ndarray, grid: Grid) -> None:
    """Write a volume (X, Y, Z); masks as bytes, all else as float32."""
    dtype = np.uint8 if volume.dtype == bool else np.float32
    image = nibabel.Nifti1Image(np.asarray(volume, dtype), grid.affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
