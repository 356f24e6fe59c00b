"""A training example: a 3T block and its target, of simulated patches or a lab's own scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch

from dmri7t.files import whole_file
from dmri7t.models.config import Range, RangeName
from dmri7t.signal.describe import Description
from dmri7t.signal.shell import Shell
from dmri7t.simulation.patches import Patch


@attrs.frozen(eq=False)
class TrainingExample:
    """One block and its target; RISH as square roots in float16, which halves the pool.

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
    ratio : ndarray () float32
        7T over 3T voxel size.
    description : Description
        The 3T shell in numbers, of single precision as in its file.
    orders : ndarray () uint8
        How many of R0, R2, R4 the target shows.
    measured : ndarray () bool
        Whether the target was measured, and so has noise: where its RISH are negative by chance,
        so are the roots.
    """

    rish: np.ndarray
    noise: np.ndarray
    coherent: np.ndarray
    mask: np.ndarray
    target: np.ndarray
    target_high: np.ndarray
    mask_high: np.ndarray
    ratio: np.ndarray
    description: Description
    orders: np.ndarray = attrs.field(factory=lambda: np.array(3, np.uint8))
    measured: np.ndarray = attrs.field(factory=lambda: np.array(False))

    @classmethod
    def from_shell(
        cls,
        shell: Shell,
        target: torch.Tensor,
        target_high: torch.Tensor,
        mask_high: np.ndarray,
        ratio: float,
    ) -> TrainingExample:
        """Keep of a shell what training needs.

        Parameters
        ----------
        shell : Shell
            Of the 3T block.
        target : Tensor (3, X, Y, Z)
            RISH of the 7T scan at the 3T voxels.
        target_high : Tensor (3, X', Y', Z')
            The same on its own grid.
        mask_high : ndarray (X', Y', Z') of bool
        ratio : float
            7T over 3T voxel size.
        """
        place = shell.brain.place
        return cls(
            rish=_root(place(shell.rish_3V)),
            noise=_root(place(shell.noise_3V)),
            coherent=_root(place(shell.coherent_9V)),
            mask=shell.brain.mask,
            target=_signed_root(target),
            target_high=_root(target_high),
            mask_high=mask_high,
            ratio=np.array(ratio, np.float32),
            description=Description.from_dict(_numbers(shell.description)),
        )

    @classmethod
    def from_patch(cls, patch: Patch) -> TrainingExample:
        """Keep of a patch what training needs."""
        high, ratio = patch.brain_high.mask, patch.protocol.ratio
        return cls.from_shell(patch.shell, patch.target, patch.target_high, high, ratio)

    def save(self, path: Path) -> None:
        """Write as .npz under its final name only when whole."""
        fields = attrs.asdict(self, recurse=False)
        fields |= _numbers(fields.pop("description"))
        with whole_file(path) as part:
            np.savez(part, **fields)

    @classmethod
    def load(cls, path: Path) -> TrainingExample:
        """Read what :meth:`save` wrote."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        description = Description.from_dict(arrays)
        maps = (field.name for field in attrs.fields(cls) if field.name != "description")
        # pools of earlier versions lack what is said of the target
        held = {name: arrays[name] for name in maps if name in arrays}
        return cls(**held, description=description)


def _numbers(description: Description) -> dict[str, np.ndarray]:
    """The numbers of a shell as arrays, as a file keeps them."""
    return {name: np.asarray(value, np.float32) for name, value in description.as_dict().items()}


def _root(values: torch.Tensor) -> np.ndarray:
    return values.clamp_min(0).sqrt().numpy().astype(np.float16)


def _signed_root(values: torch.Tensor) -> np.ndarray:
    return (values.sign() * values.abs().sqrt()).numpy().astype(np.float16)


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
