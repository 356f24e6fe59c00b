"""Smooth random fields that can be evaluated on any axis-aligned grid.

A field is a lattice of normal numbers taken as cubic B-spline coefficients, so one block of
a brain and the whole brain see the same values, and evaluation is one small matrix an axis.
"""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.resample import apply_axes

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Coordinates in mm along x, y and z of an axis-aligned grid."""


FINER = 5
"""Nodes, for each of a field's own, of the lattice from which it is interpolated."""


def bspline_weights(coordinates: np.ndarray, n_nodes: int) -> np.ndarray:
    """Cubic B-spline basis (n, n_nodes) at coordinates given in lattice steps."""
    distance = np.abs(np.asarray(coordinates, float)[:, None] - np.arange(n_nodes)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)


@attrs.frozen(eq=False)
class SmoothField:
    """Random field of unit variance (on average) and a given scale.

    Parameters
    ----------
    coefficients : Tensor (K, I, J, L)
        K independent fields.
    spacing : float
        Distance of the lattice nodes in mm; structures are about twice as large.
    origin : ndarray (3,)
        Place of the first node in mm.
    """

    coefficients: torch.Tensor
    spacing: float
    origin: np.ndarray

    @classmethod
    def draw(
        cls, rng: np.random.Generator, spacing: float, half_extent: np.ndarray, n_fields: int = 1
    ) -> SmoothField:
        """Draw ``n_fields`` fields over the box from -half_extent to half_extent (3,) in mm."""
        half_extent = np.asarray(half_extent, float) + 2 * spacing
        nodes = np.ceil(2 * half_extent / spacing).astype(int) + 1
        values = rng.standard_normal((n_fields, *nodes)).astype(np.float32)
        # the mean over a cell of the sum of squared weights is 0.479 an axis
        return cls(torch.from_numpy(values) / 0.479**1.5, spacing, -half_extent)

    def at(self, axes: Axes) -> torch.Tensor:
        """Values (K, X, Y, Z) on a grid."""
        shape = self.coefficients.shape[1:]
        matrices = [
            bspline_weights((axes[a] - self.origin[a]) / self.spacing, shape[a]) for a in range(3)
        ]
        return apply_axes(self.coefficients, matrices)

    def at_points(self, points: torch.Tensor) -> torch.Tensor:
        """Values (K, X, Y, Z) at points (3, X, Y, Z) in mm that lie on no grid.

        The field is evaluated on a lattice, :data:`FINER` times as fine as its own, over the
        box that the points need, and interpolated linearly from there.
        """
        step = self.spacing / FINER
        flat = points.flatten(1)
        low = flat.amin(1).double().numpy() - step
        counts = np.ceil((flat.amax(1).double().numpy() + step - low) / step).astype(int) + 1
        x, y, z = (low[a] + step * np.arange(counts[a]) for a in range(3))
        values = self.at((x, y, z))
        # torch counts from -1 to 1 between the first and the last node, the last axis first
        scale = torch.as_tensor(2 / (step * (counts - 1)), dtype=points.dtype)
        shift = torch.as_tensor(low, dtype=points.dtype)
        places = (points - shift.view(3, 1, 1, 1)) * scale.view(3, 1, 1, 1) - 1
        grid = places.flip(0).movedim(0, -1)[None]
        return torch.nn.functional.grid_sample(values[None], grid, align_corners=True)[0]
