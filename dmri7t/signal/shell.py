"""A brain on its grid, and what one shell of a scan says of it."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.grids import Grid


@attrs.frozen(eq=False)
class Brain:
    """The voxels of an image that are worked on, and where they lie.

    Arrays of these voxels end in an axis V: the mask's true voxels in C order.

    Parameters
    ----------
    mask : ndarray (X, Y, Z) of bool
    grid : Grid
        Of the image.

    Raises
    ------
    ValueError
        If the mask and the grid are of different shapes.

    Examples
    --------
    >>> brain = Brain(np.array([[[False, True, True]]]), Grid((1, 1, 3), np.eye(4)))
    >>> brain.n_voxels
    2
    >>> brain.place(torch.tensor([[5.0, 7.0]])).tolist()
    [[[[0.0, 5.0, 7.0]]]]
    >>> Brain(np.ones((1, 1, 2), bool), brain.grid)
    Traceback (most recent call last):
    ...
    ValueError: a mask of shape (1, 1, 2) on a grid of shape (1, 1, 3)
    """

    mask: np.ndarray = attrs.field(converter=lambda mask: np.asarray(mask, bool))
    grid: Grid

    def __attrs_post_init__(self) -> None:
        if self.mask.shape != self.grid.shape:
            raise ValueError(
                f"a mask of shape {self.mask.shape} on a grid of shape {self.grid.shape}"
            )

    @property
    def n_voxels(self) -> int:
        """Voxels of the mask, V."""
        return int(self.mask.sum())

    @property
    def voxel_sizes(self) -> np.ndarray:
        """Edge lengths of a voxel in mm, (3,)."""
        return self.grid.voxel_sizes

    def place(self, values_KV: torch.Tensor) -> torch.Tensor:
        """Lay values (K, V) into volumes (K, X, Y, Z), zero outside the mask."""
        inside = torch.as_tensor(self.mask, device=values_KV.device)
        volumes = values_KV.new_zeros(len(values_KV), *self.mask.shape)
        volumes[:, inside] = values_KV
        return volumes

    def pick(self, volumes: torch.Tensor) -> torch.Tensor:
        """Take the mask's voxels (..., V) out of volumes (..., X, Y, Z).

        Raises
        ------
        ValueError
            If the volumes are of another shape than the mask.
        """
        if tuple(volumes.shape[-3:]) != self.mask.shape:
            raise ValueError(
                f"volumes of shape {tuple(volumes.shape[-3:])}, a mask of shape {self.mask.shape}"
            )
        return volumes[..., torch.as_tensor(self.mask, device=volumes.device)]

    def crop(self, box: tuple[slice, slice, slice]) -> Brain:
        """Return the part within a box; its slices have a start and a stop within the image."""
        start, stop = tuple(s.start for s in box), tuple(s.stop for s in box)
        return Brain(self.mask[box], self.grid.crop(start, stop))
