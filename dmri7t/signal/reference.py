"""RISH to hold estimates against: of directions that they were not made of."""

from __future__ import annotations

import attrs
import torch

from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.represent import floor_b0, normalize
from dmri7t.signal.rish import model_rows, noise_share, rish
from dmri7t.signal.shell import Brain, ShellSignal


@attrs.frozen(eq=False)
class Reference:
    """RISH of directions that took no part in an estimate, free of their noise on the mean.

    Parameters
    ----------
    rish_3V : Tensor (3, V)
        May be negative.
    orders : int
        How many of them the directions show.
    brain : Brain
    """

    rish_3V: torch.Tensor
    orders: int
    brain: Brain

    @classmethod
    def of(cls, measured: ShellSignal, sigma: float, b0_V: torch.Tensor | None = None) -> Reference:
        """Take RISH of what was measured.

        Parameters
        ----------
        measured : ShellSignal
        sigma : float
            Standard deviation of the noise in units of the scanner. That of the whole shell: a
            part may have too few directions to tell.
        b0_V : Tensor (V,), optional
            A mean b0 without much noise to divide by; default: the measured one, whose noise
            raises RISH, which is corrected.
        """
        plan = plan_fit(measured.directions_N3)
        divisor_V = measured.b0_V if b0_V is None else b0_V
        rish_LV = rish(fit(normalize(measured.signal_NV, divisor_V), plan))
        sigma_V = (sigma / floor_b0(divisor_V)).clamp_max(1.0)
        free_LV = rish_LV - noise_share(plan, sigma_V)
        if b0_V is None:
            # its noise makes all of a voxel larger: the mean of (1 + e)^-2 is 1 + 3 var(e)
            free_LV = free_LV / (1 + 3 * sigma_V.square() / max(measured.n_b0, 1))
        shown = model_rows(free_LV)
        return cls(shown, min(len(shown), plan.order // 2 + 1), measured.brain)
