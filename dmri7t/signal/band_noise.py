"""Noise of a shell's coefficients in bands of space, as the residuals of the fit show it."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan, n_coefficients
from dmri7t.signal.neighbourhood import Neighbourhood

NOISE_PASSES = 8
"""Smoothings of the map of the noise: it varies slowly."""

COMPARED = 8
"""Rows of residuals that the noise is read off."""

LEAST_DOF = 0.5
"""Residuals with fewer degrees of freedom say nothing of the noise."""


def tells_noise(plan: FitPlan) -> bool:
    """Whether the residuals of a fit tell its noise: six directions are spent on six coefficients,
    and what a penalty leaves of them is signal."""
    return plan.n_directions > n_coefficients(2) and plan.residual_dof >= LEAST_DOF


@attrs.frozen(eq=False)
class BandNoise:
    """Covariance of a coefficient's noise with that of its bands, for a fit that keeps noise as
    it is: times ``noise_L`` of :class:`~dmri7t.signal.harmonics.FitPlan`, that of an order.

    Parameters
    ----------
    fine_V, middle_V : Tensor (V,)
        With c - G1 c, and with G1 c - G3 c. In squared units of the signal.
    whole_V : Tensor (V,)
        With c itself: the variance of the noise.
    """

    fine_V: torch.Tensor
    middle_V: torch.Tensor
    whole_V: torch.Tensor

    @property
    def coarse_V(self) -> torch.Tensor:
        """Covariance with G3 c, (V,)."""
        return (self.whole_V - self.fine_V - self.middle_V).clamp_min(0)

    @classmethod
    def measured(cls, signal_NV: torch.Tensor, plan: FitPlan, space: Neighbourhood) -> BandNoise:
        """Read the noise off the residuals of a fit, place by place.

        Smooth residuals (an order too many, motion) are no noise of the fine band and do not
        count: the filters take them out before anything is squared.

        Parameters
        ----------
        signal_NV : Tensor (N, V)
            In scanner units.
        plan : FitPlan
        space : Neighbourhood

        Raises
        ------
        ValueError
            If the fit leaves no residuals.
        """
        if not tells_noise(plan):
            raise ValueError(
                f"{plan.n_directions} directions leave no residuals of order {plan.order}"
            )
        count = min(COMPARED, plan.n_directions)
        rows = np.linspace(0, plan.n_directions - 1, count).round().astype(int)
        rows_RN = torch.as_tensor(
            plan.residual_NN[rows], dtype=signal_NV.dtype, device=signal_NV.device
        )
        fine_V = middle_V = whole_V = signal_NV.new_zeros(signal_NV.shape[1])
        # all rows at once: the signals are read from memory once
        for residual_V in rows_RN @ signal_NV:
            once_V, thrice_V = space.averages(residual_V)
            fine_V = fine_V + residual_V * (residual_V - once_V)
            middle_V = middle_V + residual_V * (once_V - thrice_V)
            whole_V = whole_V + residual_V.square()
        power = float(rows_RN.square().sum())
        sums = (fine_V, middle_V, whole_V)
        return cls(*(space.smooth(v / power, NOISE_PASSES).clamp_min(0) for v in sums))
