"""A training example: a pair of 3T and 7T blocks, of simulated patches or a lab's own scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch

from dmri7t.files import whole_file
from dmri7t.models.config import Range, RangeName
from dmri7t.signal.describe import Description
from dmri7t.simulation.patches import Patch


@attrs.frozen(eq=False)
class TrainingExample:
    """One training pair; RISH as square roots in float16, which halves the pool.

    Parameters
    ----------
    rish, noise, target : ndarray (3, X, Y, Z)
        Square roots of the noisy 3T RISH, of the noise's share, and of the 7T RISH.
    coherent : ndarray (9, X, Y, Z)
        Square roots of RISH together with the neighbours; zero where those are negative.
    mask : ndarray (X, Y, Z) bool
    target_high : ndarray (3, X', Y', Z')
        Square root of the 7T RISH on its own grid.
    mask_high : ndarray (X', Y', Z') bool
    voxel_sizes, bval, n_directions, sigma, spread, correlation : ndarray
        The 3T shell in numbers, see :class:`dmri7t.signal.describe.Description`.
    ratio : float
        7T over 3T voxel size.
    """

    rish: np.ndarray
    noise: np.ndarray
    coherent: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    target_high: np.ndarray
    mask_high: np.ndarray
    voxel_sizes: np.ndarray
    ratio: np.ndarray
    bval: np.ndarray
    n_directions: np.ndarray
    sigma: np.ndarray
    spread: np.ndarray
    correlation: np.ndarray

    @classmethod
    def from_patch(cls, patch: Patch) -> TrainingExample:
        """Keep of a patch what training needs."""
        return cls(
            rish=_root(patch.rish),
            noise=_root(patch.noise),
            coherent=_root(patch.coherent),
            target=_root(patch.target),
            mask=patch.mask.numpy(),
            target_high=_root(patch.target_high),
            mask_high=patch.mask_high.numpy(),
            ratio=np.float32(patch.protocol.ratio),
            **numbers(patch.described),
        )

    def describe(self, axes: Sequence[int] = (0, 1, 2)) -> Description:
        """The shell in numbers, its axes in another order."""
        axes = list(axes)
        return Description(
            voxel_sizes=self.voxel_sizes[axes],
            bval=self.bval,
            n_directions=self.n_directions,
            sigma=self.sigma,
            spread=self.spread,
            correlation=self.correlation[axes],
        )

    def save(self, path: Path) -> None:
        """Write as .npz under its final name only when whole."""
        with whole_file(path) as part:
            np.savez(part, **attrs.asdict(self))

    @classmethod
    def load(cls, path: Path) -> TrainingExample:
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})


def numbers(described: Description) -> dict[str, np.ndarray]:
    """The numbers of a shell as arrays that an example keeps."""
    return {name: np.asarray(value, np.float32) for name, value in described.as_dict().items()}


def _root(values: torch.Tensor) -> np.ndarray:
    return values.clamp_min(0).sqrt().numpy().astype(np.float16)


def describe_pool(shells: Sequence[Description]) -> dict[RangeName, Range]:
    """Smallest and largest value of what describes the shells of a pool."""
    columns: dict[RangeName, np.ndarray] = {
        "voxel_size_mm": np.stack([shell.voxel_sizes for shell in shells]),
        "bval": np.array([shell.bval for shell in shells]),
        "n_directions": np.array([shell.n_directions for shell in shells]),
    }
    return {
        name: (round(float(values.min()), 3), round(float(values.max()), 3))
        for name, values in columns.items()
    }
