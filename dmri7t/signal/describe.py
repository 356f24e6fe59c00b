"""What a shell is, in a few numbers that are read off the scan itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from dmri7t.signal.harmonics import FitPlan


def _by_axis(values: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


@attrs.frozen
class Description:
    """A shell in numbers; networks are given them.

    Parameters
    ----------
    voxel_sizes : tuple of three floats
        mm.
    bval : float
        s/mm2.
    n_directions : int
    sigma : float
        Median over the mask of the noise's standard deviation, in units of the b0.
    spread : float
        Noise of the highest fitted order up to 4, over that of as many directions that are
        spread evenly; 1 is best. See :func:`direction_spread`.
    correlation : tuple of three floats
        Of residuals between neighbours along each axis;
        see :func:`dmri7t.signal.coherence.residual_correlation`.
    """

    voxel_sizes: tuple[float, float, float] = attrs.field(converter=_by_axis)
    bval: float = attrs.field(converter=float)
    n_directions: int = attrs.field(converter=int)
    sigma: float = attrs.field(converter=float)
    spread: float = attrs.field(converter=float)
    correlation: tuple[float, float, float] = attrs.field(converter=_by_axis)

    def turned(self, axes: Sequence[int]) -> Description:
        """The same shell with its axes in another order.

        Examples
        --------
        >>> shell = Description((1, 2, 3), 1000, 30, 0.05, 1.0, (0.1, 0.2, 0.3))
        >>> shell.turned([2, 0, 1]).voxel_sizes
        (3.0, 1.0, 2.0)
        """
        sizes, correlation = (
            [values[axis] for axis in axes] for values in (self.voxel_sizes, self.correlation)
        )
        return attrs.evolve(self, voxel_sizes=sizes, correlation=correlation)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        values = attrs.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Description:
        """Read what :meth:`as_dict` gave; other keys are left alone."""
        return cls(**{field.name: values[field.name] for field in attrs.fields(cls)})


def direction_spread(plan: FitPlan) -> float:
    """How much more noise a table lets into a fit than evenly spread directions would.

    N evenly spread directions give every coefficient the variance 4 pi / N, so order l has
    (2 l + 1) 4 pi / N of it.

    Parameters
    ----------
    plan : FitPlan
    """
    order = min(plan.order, 4)
    even = (2 * order + 1) * 4 * np.pi / plan.n_directions
    return float(plan.noise_L[order // 2] / even)
