"""The 7T-like signal: coefficients on the new grid, scaled by generated RISH, times b0.

1. The coefficients are interpolated to the new grid.
2. Order by order they are multiplied by sqrt(R7 / R3), within bounds, as far as the scan itself
   supports it.
3. On request they are held to what was measured at low spatial frequencies.
4. The signal is evaluated at every gradient direction and multiplied by the b0, which is filtered
   where the coefficients are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs
import numpy as np
import torch

from dmri7t.signal.consistency import LowPass, hold
from dmri7t.signal.estimate import ShellEstimate
from dmri7t.signal.harmonics import basis_matrix, order_of
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import LOWER, UPPER

FREE_WATER = 3.2e-3
"""Diffusivity in mm2/s that nothing in a head exceeds: free water at 37 degrees, and a little."""

SLAB = 65536
"""Voxels whose signals are evaluated at once."""


@attrs.frozen(eq=False)
class TranslatedShell:
    """A shell that went through the model.

    Parameters
    ----------
    estimate : ShellEstimate
        Of the input.
    directions_N3 : ndarray (N, 3)
        Unit vectors, scanner frame.
    rish7_3V : Tensor (3, V')
        RISH on the output's grid that the model generated.
    rows : list of int
        Indices of the shell's volumes in the scan.
    bval : float
        s/mm2.
    measured_CV : Tensor (C, V), optional
        Coefficients as they were measured, which low frequencies are held to.
    """

    estimate: ShellEstimate
    directions_N3: np.ndarray
    rish7_3V: torch.Tensor
    rows: list[int]
    bval: float
    measured_CV: torch.Tensor | None = None


@attrs.frozen(eq=False)
class Composition:
    """What became of a scan besides its volumes.

    Parameters
    ----------
    b0_V : Tensor (V',)
        Mean b0 on the output's grid, filtered where the coefficients are.
    bounded : list of lists of float
        For every shell and scaled order, the fraction of voxels where the ratio met a bound.
    outside : int
        Values that no water diffuses to, which were set to the nearest that it does: above the b0,
        or below what free water leaves of it; interpolated ones below zero.
    """

    b0_V: torch.Tensor
    bounded: list[list[float]]
    outside: int


@attrs.frozen(eq=False)
class Composer:
    """Makes 7T-like volumes of 3T ones.

    Parameters
    ----------
    regrid : Regrid
        From the input's brain to the output's.
    bounds : tuple of float
        Of the factors.
    lowpass : LowPass, optional
        On the output's brain; what it passes is held to the measurement.
    """

    regrid: Regrid
    bounds: tuple[float, float] = (LOWER, UPPER)
    lowpass: LowPass | None = None

    def compose(
        self,
        dwi_NV: torch.Tensor,
        b0_V: torch.Tensor,
        shells: Iterable[TranslatedShell],
        b0_rows: Sequence[int],
        others: Sequence[int],
        out_NV: np.ndarray,
    ) -> Composition:
        """Write a whole 7T-like scan into an array.

        Parameters
        ----------
        dwi_NV : Tensor (N, V)
            The input.
        b0_V : Tensor (V,)
            Its mean b0.
        shells : iterable of TranslatedShell
            Taken one by one, so that one alone need be in memory.
        b0_rows : sequence of int
            The b0s: each is interpolated as itself, times what the filter left of their mean.
        others : sequence of int
            Volumes of shells that the model does not translate: they are interpolated only.
        out_NV : ndarray (N, V')
            Is filled.
        """
        bounded, outside, filtered_V = [], 0, []
        for shell in shells:
            fractions, beyond = self._write_shell(shell, b0_V, out_NV)
            bounded.append(fractions)
            outside += beyond
            filtered_V.append(shell.estimate.b0_V)
        # each shell has its own word on the noise
        mean_V = torch.stack(filtered_V).mean(0) if filtered_V else b0_V
        outside += interpolate_volumes(dwi_NV, self.regrid, out_NV, others)
        # a factor leaves them positive
        left_V = mean_V / b0_V.clamp_min(torch.finfo(b0_V.dtype).tiny)
        outside += interpolate_volumes(dwi_NV, self.regrid, out_NV, b0_rows, left_V)
        return Composition(self.regrid.positive(mean_V), bounded, outside)

    def _write_shell(
        self, translated: TranslatedShell, b0_V: torch.Tensor, out_NV: np.ndarray
    ) -> tuple[list[float], int]:
        """Write one shell's volumes; ``b0_V`` is the mean b0 as it was measured."""
        estimate, measured_CV = translated.estimate, translated.measured_CV
        # what the signal was divided by is what it is multiplied by
        divisor_V = floor_b0(estimate.b0_V)
        fine_V = self.regrid.positive(divisor_V)
        fine_CV = self.regrid(estimate.sh_CV)
        scaled_CV, bounded = estimate.scaled(fine_CV, translated.rish7_3V, self.bounds)
        if self.lowpass is not None and measured_CV is not None:
            own_CV = measured_CV * (floor_b0(b0_V) / divisor_V)
            scaled_CV = hold(scaled_CV, self.regrid(own_CV), fine_V, self.lowpass)
        outside = evaluate(scaled_CV, fine_V, translated, out_NV)
        return bounded, outside


def evaluate(
    sh_CV: torch.Tensor, b0_V: torch.Tensor, translated: TranslatedShell, out_NV: np.ndarray
) -> int:
    """Write b0 times the signal at every direction, within what water can diffuse to.

    Works in slabs of voxels, so that the whole signal need not fit in memory. Returns how many
    values were outside.
    """
    basis = basis_matrix(translated.directions_N3, order_of(len(sh_CV)))
    basis_NC = torch.as_tensor(basis, dtype=sh_CV.dtype)
    lowest = math.exp(-translated.bval * FREE_WATER)
    outside = 0
    for first in range(0, sh_CV.shape[1], SLAB):
        slab = slice(first, first + SLAB)
        signal_NV = basis_NC @ sh_CV[:, slab]
        outside += int(torch.count_nonzero((signal_NV < lowest) | (signal_NV > 1)))
        signal_NV.clamp_(lowest, 1).mul_(b0_V[slab])
        # row by row: a list of rows as an index would be scattered value by value
        for row, signal_V in zip(translated.rows, signal_NV.numpy(), strict=True):
            out_NV[row, slab] = signal_V
    return outside


def interpolate_volumes(
    dwi_NV: torch.Tensor,
    regrid: Regrid,
    out_NV: np.ndarray,
    rows: Sequence[int],
    factor_V: torch.Tensor | None = None,
) -> int:
    """Write some volumes of a scan (N, V), times an image, never below zero.

    Returns how many values a spline had put below zero.
    """
    negative = 0
    for row in rows:
        volume_V = dwi_NV[row] if factor_V is None else dwi_NV[row] * factor_V
        fine_V = regrid(volume_V[None])[0]
        below = int(torch.count_nonzero(fine_V < 0))
        out_NV[row] = (regrid.positive(volume_V) if below else fine_V).numpy()
        negative += below
    return negative
