"""The 7T-like signal: coefficients on the new grid, scaled by generated RISH, times b0.

1. The coefficients are interpolated to the new grid.
2. Order by order they are multiplied by sqrt(R7 / R3), within bounds.
3. On request they are held to what was measured at low spatial frequencies.
4. The signal is evaluated at every gradient direction and multiplied by the b0.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np
import torch

from dmri7t.signal.consistency import LowPass, hold
from dmri7t.signal.harmonics import basis_matrix, order_of
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import LOWER, UPPER, harmonize, rish, scale_factors
from dmri7t.signal.shell import Shell

SLAB = 65536
"""Voxels whose signals are evaluated at once."""


@attrs.frozen(eq=False)
class TranslatedShell:
    """A shell that went through the model.

    Parameters
    ----------
    shell : Shell
        Of the input.
    rish7_3V : Tensor (3, V')
        Generated RISH on the output's grid.
    rows : list of int
        Indices of the shell's volumes in the scan.
    """

    shell: Shell
    rish7_3V: torch.Tensor
    rows: list[int]


@attrs.frozen(eq=False)
class Composition:
    """What became of a scan besides its volumes.

    Parameters
    ----------
    b0_V : Tensor (V',)
        Mean b0 on the output's grid.
    bounded : list of lists of float
        For every shell and scaled order, the fraction of voxels where the ratio met a bound.
    negative : int
        Values below zero that were set to zero.
    """

    b0_V: torch.Tensor
    bounded: list[list[float]]
    negative: int


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
        interpolated: list[int],
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
        interpolated : list of int
            Volumes that are interpolated only: the b0s, each kept as itself, and shells that the
            model does not translate.
        out_NV : ndarray (N, V')
            Is filled.
        """
        # what the signal was divided by is what it is multiplied by
        divisor_V = self.regrid.positive(floor_b0(b0_V))
        negative = interpolate_volumes(dwi_NV, self.regrid, out_NV, interpolated)
        bounded = []
        for shell in shells:
            fractions, below = self._write_shell(shell, divisor_V, out_NV)
            bounded.append(fractions)
            negative += below
        return Composition(self.regrid.positive(b0_V), bounded, negative)

    def _write_shell(
        self, translated: TranslatedShell, b0_V: torch.Tensor, out_NV: np.ndarray
    ) -> tuple[list[float], int]:
        """Write one shell's volumes; ``b0_V`` is the floored mean b0 on the output's grid."""
        sh_CV = self.regrid(translated.shell.sh_CV)
        n_orders = translated.shell.n_orders
        rish3_LV = rish(sh_CV)[:n_orders]
        factor_LV, bounded_L = scale_factors(rish3_LV, translated.rish7_3V[:n_orders], *self.bounds)
        scaled_CV = harmonize(sh_CV, factor_LV)
        if self.lowpass is not None:
            scaled_CV = hold(scaled_CV, sh_CV, b0_V, self.lowpass)
        directions_N3 = translated.shell.directions_N3
        negative = evaluate(scaled_CV, b0_V, directions_N3, out_NV, translated.rows)
        return [float(b) for b in bounded_L], negative


def evaluate(
    sh_CV: torch.Tensor,
    b0_V: torch.Tensor,
    directions_N3: np.ndarray,
    out_NV: np.ndarray,
    rows: list[int],
) -> int:
    """Write b0 times the signal at every direction, never below zero; count what was below.

    Works in slabs of voxels, so that the whole signal need not fit in memory.
    """
    basis = basis_matrix(directions_N3, order_of(len(sh_CV)))
    basis_NC = torch.as_tensor(basis, dtype=sh_CV.dtype)
    negative = 0
    for first in range(0, sh_CV.shape[1], SLAB):
        slab = slice(first, first + SLAB)
        signal_NV = (basis_NC @ sh_CV[:, slab]).mul_(b0_V[slab])
        negative += int((signal_NV < 0).sum())
        out_NV[rows, slab] = signal_NV.clamp_(min=0).numpy()
    return negative


def interpolate_volumes(
    dwi_NV: torch.Tensor, regrid: Regrid, out_NV: np.ndarray, rows: list[int]
) -> int:
    """Write some volumes of a scan (N, V), never below zero; count what a spline put there."""
    negative = 0
    for row in rows:
        fine_V = regrid(dwi_NV[row : row + 1])[0]
        below = int((fine_V < 0).sum())
        out_NV[row] = (regrid.positive(dwi_NV[row]) if below else fine_V).numpy()
        negative += below
    return negative
