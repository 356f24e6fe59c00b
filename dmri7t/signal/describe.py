"""What a shell is, in a few numbers that are read off the scan itself."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch

from dmri7t.signal.coherence import residual_correlation
from dmri7t.signal.harmonics import FitPlan
from dmri7t.signal.represent import Representation


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

    voxel_sizes: tuple[float, float, float] = attrs.field(converter=lambda v: _floats(v))
    bval: float = attrs.field(converter=float)
    n_directions: int = attrs.field(converter=int)
    sigma: float = attrs.field(converter=float)
    spread: float = attrs.field(converter=float)
    correlation: tuple[float, float, float] = attrs.field(converter=lambda v: _floats(v))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        values = attrs.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Description:
        """Read what :meth:`as_dict` gave; other keys are left alone."""
        return cls(**{field.name: values[field.name] for field in attrs.fields(cls)})


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


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


def describe(
    signal_NV: torch.Tensor,
    made: Representation,
    bval: float,
    mask_XYZ: np.ndarray,
    voxel_sizes: np.ndarray,
) -> Description:
    """Read the numbers off a shell.

    Parameters
    ----------
    signal_NV : Tensor (N, V)
        Volumes of the shell in scanner units, mask voxels only.
    made : Representation
        Of the same shell.
    bval : float
        s/mm2.
    mask_XYZ : ndarray of bool
        V true voxels, C order.
    voxel_sizes : ndarray (3,)
        mm.
    """
    return Description(
        voxel_sizes=voxel_sizes,
        bval=bval,
        n_directions=made.plan.n_directions,
        sigma=made.sigma_V.median(),
        spread=direction_spread(made.plan),
        correlation=residual_correlation(signal_NV, mask_XYZ, made.plan),
    )
