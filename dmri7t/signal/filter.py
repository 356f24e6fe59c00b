"""Steerable filters: the coefficients of a voxel from its own and its neighbours'.

Every even order l is split into three bands of space, from fine to coarse,

    c_l = (c_l - G1 c_l) + (G1 c_l - G3 c_l) + G3 c_l,

with G1 and G3 the binomial kernel applied once and three times within the mask. The estimate
keeps part of them:

    c^_l = c_l - u1 (c_l - G1 c_l) - u2 (G1 c_l - G3 c_l) - u3 G3 c_l,

u one number a voxel, order and band, the same for all m, made of rotation invariants: if head
and gradients turn, the estimate turns with them. Of orders 0 and 2, which have little noise in
the others, the first band alone loses something. Of order 4, c is what order 2 does not foretell
of it (:mod:`dmri7t.signal.order4`), and may be nothing at all.

The Wiener weights need no training. With d a band, n the noise of c and e the mean of d squared
around a voxel, the expected error of c - u d is least at u = E<n, d> / e (Stein's unbiased risk;
Luisier et al. 2007, IEEE TIP 16:593), and E<n, d> is what the residuals of the fit show: they
hold noise alone, pass the same filters, and so tell how much of it there is, how it is
correlated, and where. White noise of variance s2 has E<n, c - G1 c> = s2 (1 - 1/8) within the
brain, 1/8 being the weight of a voxel in its own average. Weights near zero are taken for zero.

Coefficients are those of the signal in scanner units, not over its b0: there the noise is the
same in neighbouring voxels, and no noise of the divisor is smoothed over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch

from dmri7t.signal.harmonics import FitPlan, basis_matrix, n_coefficients, order_rows
from dmri7t.signal.mean_b0 import filter_b0
from dmri7t.signal.neighbourhood import ENERGY_PASSES, Neighbourhood
from dmri7t.signal.order4 import ORDER_2, ORDER_4, foretell_order4
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.shell import ShellFit, ShellSignal

NOISE_PASSES = 8
"""Smoothings of the map of the noise: it varies slowly."""

COMPARED = 8
"""Rows of residuals that the noise is read off."""

ALL_BANDS = 4
"""Order from which all bands are filtered: lower ones have little noise in the coarse ones."""

SPARED = (0.05, 0.15)
"""Weights of order 0, and of higher ones, below which a band stays as it is; larger ones are less
by as much, the largest aside. Where there is little noise a filter gains next to nothing on the
scan's own grid, and costs sharpness on a finer one. Chosen on real scans, see the documentation
(evaluation)."""

MOST_ENERGY = 16.0
"""Most by which energy is scaled, up or down: of nearly none a ratio means nothing."""

TELLING_DOF = 2.9
"""Residuals with fewer degrees of freedom, those of 8 directions and less, do not tell how large an
order is that was not fitted."""

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
            once_V, thrice_V = _averages(residual_V, space)
            fine_V = fine_V + residual_V * (residual_V - once_V)
            middle_V = middle_V + residual_V * (once_V - thrice_V)
            whole_V = whole_V + residual_V.square()
        power = float(rows_RN.square().sum())
        sums = (fine_V, middle_V, whole_V)
        return cls(*(space.smooth(v / power, NOISE_PASSES).clamp_min(0) for v in sums))

    @classmethod
    def expected(
        cls, sigma_V: torch.Tensor, correlation: Sequence[float], space: Neighbourhood
    ) -> BandNoise:
        """Noise of known size and correlation between next neighbours along each axis.

        Neighbours further apart are taken to be correlated as a power of it.

        Parameters
        ----------
        sigma_V : Tensor (V,)
            Standard deviation of the noise in units of the signal.
        correlation : sequence of three floats
            See :func:`dmri7t.signal.coherence.residual_correlation`.
        space : Neighbourhood

        Examples
        --------
        Where the brain is all around, white noise is in the fine band but for one eighth:

        >>> from dmri7t.signal.grids import Grid
        >>> from dmri7t.signal.shell import Brain
        >>> grid = Grid((15, 15, 15), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> space = Neighbourhood(Brain(np.ones((15, 15, 15), bool), grid))
        >>> noise = BandNoise.expected(torch.ones(15**3), (0, 0, 0), space)
        >>> [round(float(space.place(v)[7, 7, 7]), 3) for v in (noise.fine_V, noise.middle_V)]
        [0.875, 0.094]
        """
        own_V = [
            _own_weight(space, correlation, passes).to(sigma_V) / space.reach(passes).to(sigma_V)
            for passes in (1, 3)
        ]
        power_V = sigma_V.square()
        return cls(power_V * (1 - own_V[0]), power_V * (own_V[0] - own_V[1]), power_V)


def _own_weight(space: Neighbourhood, correlation: Sequence[float], passes: int) -> torch.Tensor:
    """Sum over the kernel of weight times correlation with the centre, within the mask, (V,)."""
    lines = []
    for side, rho in zip(space.sides, correlation, strict=True):
        line = np.array([1.0])
        for _ in range(passes):
            line = np.convolve(line, [side, 1 - 2 * side, side])
        lines.append(line * float(rho) ** np.abs(np.arange(-passes, passes + 1)))
    volume = space.inside.float()
    for axis, line in zip((-3, -2, -1), lines, strict=True):
        n = volume.shape[axis]
        out = torch.zeros_like(volume)
        for step, weight in zip(range(-passes, passes + 1), line, strict=True):
            width = n - abs(step)
            if width > 0 and weight:
                out.narrow(axis, max(0, -step), width).add_(
                    volume.narrow(axis, max(0, step), width), alpha=float(weight)
                )
        volume = out
    return space.pick(volume)


def _averages(values_V: torch.Tensor, space: Neighbourhood) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask voxels (..., V) smoothed once, and three times."""
    once = space.spread(space.place(values_V))
    thrice = space.spread(once, 2)
    return space.pick(once) / space.reach(1), space.pick(thrice) / space.reach(3)


class Smoothed:
    """Coefficients averaged once and three times over their neighbours, row by row when asked for.

    Rows of the orders that weights are made of are asked for twice, and kept.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
    space : Neighbourhood
    lower : Smoothed, optional
        Of the same coefficients' lower orders.
    """

    def __init__(
        self, sh_CV: torch.Tensor, space: Neighbourhood, lower: Smoothed | None = None
    ) -> None:
        self.sh_CV = sh_CV
        self.space = space
        known = None if lower is None else lower._kept
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = known or {}

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Row of the coefficients (V,), averaged once, and three times."""
        if row in self._kept:
            return self._kept[row]
        averages = _averages(self.sh_CV[row], self.space)
        if row < n_coefficients(ALL_BANDS):
            self._kept[row] = averages
        return averages


def wiener_weights(
    smoothed: Smoothed, plan: FitPlan, noise: BandNoise, orders: range = range(0, 6, 2)
) -> torch.Tensor:
    """What part of each band is taken out of each order, from the noise alone.

    Parameters
    ----------
    smoothed : Smoothed
        Coefficients in units of the signal.
    plan : FitPlan
        That made them.
    noise : BandNoise
    orders : range
        Orders that weights are made of.

    Returns
    -------
    Tensor (L, 3, V)
        For these orders as far as they were fitted: of the fine band, the middle and the coarse
        one, between 0 and 1.
    """
    sh_CV, space = smoothed.sh_CV, smoothed.space
    tiny = torch.finfo(sh_CV.dtype).tiny
    weights = []
    for index, rows in enumerate(order_rows(len(sh_CV))):
        if 2 * index not in orders:
            continue
        fine_noise_V = noise.fine_V * float(plan.noise_L[index])
        middle_noise_V = noise.middle_V * float(plan.noise_L[index])
        all_bands = 2 * index >= ALL_BANDS
        products_KV = sh_CV.new_zeros(4 if all_bands else 3, sh_CV.shape[1])
        for row in rows:
            once_V, thrice_V = smoothed[row]
            fine_V, middle_V = sh_CV[row] - once_V, once_V - thrice_V
            products_KV[0].addcmul_(fine_V, fine_V)
            products_KV[1].addcmul_(fine_V, middle_V)
            products_KV[2].addcmul_(middle_V, middle_V)
            if all_bands:
                products_KV[3].addcmul_(thrice_V, thrice_V)
        fine_V, both_V, middle_V, *coarse = space.smooth(products_KV, ENERGY_PASSES)
        second_V, third_V = torch.zeros_like(fine_V), torch.zeros_like(fine_V)
        if all_bands:
            coarse_noise_V = noise.coarse_V * float(plan.noise_L[index])
            third_V = (coarse_noise_V / coarse[0].clamp_min(tiny)).clamp(0, 1)
            # both at once: the bands are not orthogonal
            second_V = (middle_noise_V * fine_V - fine_noise_V * both_V) / (
                fine_V * middle_V - both_V.square()
            ).clamp_min(tiny)
            second_V = second_V.clamp(0, 1)
        first_V = (fine_noise_V - both_V * second_V) / fine_V.clamp_min(tiny)
        spared = SPARED[min(index, 1)]
        both_2V = torch.stack([first_V, second_V])
        both_2V.sub_(spared).div_(1 - spared).clamp_(0, 1)
        weights.append(torch.cat([both_2V, third_V[None]]))
    return torch.stack(weights)


def apply_filter(smoothed: Smoothed, weights_L3V: torch.Tensor) -> torch.Tensor:
    """Take parts of the bands out of every order; higher orders take the last one's weights.

    Parameters
    ----------
    smoothed : Smoothed
        Coefficients (C, V).
    weights_L3V : Tensor (L, 3, V)

    Returns
    -------
    Tensor (C, V)
    """
    sh_CV = smoothed.sh_CV
    out_CV = torch.empty_like(sh_CV)
    for index, rows in enumerate(order_rows(len(sh_CV))):
        first_V, second_V, third_V = weights_L3V[min(index, len(weights_L3V) - 1)]
        more = bool(second_V.any() or third_V.any())
        # c - u1 (c - once) - u2 (once - thrice) - u3 thrice, each voxel's value read once
        for row in rows:
            once_V, thrice_V = smoothed[row]
            torch.lerp(sh_CV[row], once_V, first_V, out=out_CV[row])
            if more:
                out_CV[row] -= second_V * (once_V - thrice_V) + third_V * thrice_V
    return out_CV


@attrs.frozen(eq=False)
class Filtered:
    """A shell's coefficients without the noise that neighbours and residuals tell of.

    Parameters
    ----------
    sh_CV : Tensor (C, V)
        Of S / S0, S0 being ``b0_V``, floored. Of order 4 at least, foretold where it was not
        fitted.
    error_LV : Tensor (L, V)
        Expected squared error of order 0, 2, 4, as far as they were fitted: Stein's unbiased
        estimate of the risk.
    missing_LV : Tensor (3, V)
        What RISH of ``sh_CV`` lacks of that of the true coefficients, on the average of a
        voxel's surroundings: an estimate of least error is smoother than the truth, and its
        square too small.
    b0_V : Tensor (V,)
        Mean b0, filtered as well.
    """

    sh_CV: torch.Tensor
    error_LV: torch.Tensor
    missing_LV: torch.Tensor
    b0_V: torch.Tensor

    def with_energy(self, share: float) -> torch.Tensor:
        """Scale the coefficients (C, V) part of the way to the energy of the true ones.

        Orders 0 and 2, by (RISH of the truth / RISH of the estimate) to the power of half the
        share. Order 4 stays as it is: what was foretold of it is as large as what was measured,
        and the rest mostly noise.

        Parameters
        ----------
        share : float
            0: least error, and RISH that are too small; 1: RISH as large as the truth's.
        """
        out_CV = self.sh_CV.clone()
        low = min(len(order_rows(len(out_CV))), 2)
        energy_LV = _energy(self.sh_CV, low)
        tiny = torch.finfo(energy_LV.dtype).tiny
        ratio_LV = 1 + self.missing_LV[:low] / energy_LV.clamp_min(tiny)
        factor_LV = ratio_LV.clamp(1 / MOST_ENERGY, MOST_ENERGY) ** (share / 2)
        for rows, factor_V in zip(order_rows(len(out_CV)), factor_LV, strict=False):
            out_CV[rows.start : rows.stop] *= factor_V
        return out_CV


def filter_shell(measured: ShellSignal, shell: ShellFit) -> Filtered:
    """Filter the coefficients of one shell by the training-free weights.

    A fit that leaves no residuals does not tell its noise: its coefficients stay as they are.

    Parameters
    ----------
    measured : ShellSignal
    shell : ShellFit
        Made of it.
    """
    plan, sh_CV = shell.plan, shell.sh_CV
    if not tells_noise(plan):
        error_LV = shell.noise_3V[: shell.n_orders]
        return Filtered(sh_CV, error_LV, -error_LV, measured.b0_V)
    space = Neighbourhood(measured.brain, sh_CV.device)
    signal_CV = sh_CV * floor_b0(measured.b0_V)
    signal_NV = measured.signal_NV
    order4_9V = None
    if plan.order == 2 and plan.residual_dof >= TELLING_DOF:
        # it leaks into the orders that were fitted, and into what passes for noise
        basis_N9 = torch.as_tensor(basis_matrix(measured.directions_N3, 4)[:, ORDER_4])
        basis_N9 = basis_N9.to(signal_CV)
        leak_C9 = torch.as_tensor(plan.matrix_CN).to(signal_CV) @ basis_N9
        order4_9V = _unfitted_order4(measured, signal_CV, plan, basis_N9, space)
        signal_NV, signal_CV = signal_NV - basis_N9 @ order4_9V, signal_CV - leak_C9 @ order4_9V
    noise = BandNoise.measured(signal_NV, plan, space)
    filtered_CV, error_LV, missing_LV = _filter_fitted(signal_CV, plan, noise, space)
    if order4_9V is not None:
        filtered_CV = torch.cat([filtered_CV, order4_9V])
        # its factor makes it as large as what was measured
        missing_LV = torch.cat([missing_LV, torch.zeros_like(missing_LV[:1])])
    b0_V = filter_b0(measured.b0_V, noise.fine_V / max(measured.n_b0, 1), space)
    divisor_V = floor_b0(b0_V)
    power_V = divisor_V.square()
    return Filtered(filtered_CV.div_(divisor_V), error_LV / power_V, missing_LV / power_V, b0_V)


def _unfitted_order4(
    measured: ShellSignal,
    signal_CV: torch.Tensor,
    plan: FitPlan,
    basis_N9: torch.Tensor,
    space: Neighbourhood,
) -> torch.Tensor:
    """Foretell order 4 (9, V) of a shell of too few directions to fit it, in scanner units.

    ``basis_N9`` takes it to signals.
    """
    noise = BandNoise.measured(measured.signal_NV, plan, space)
    first_CV, _, _ = _filter_fitted(signal_CV, plan, noise, space)
    residual_NN = torch.as_tensor(plan.residual_NN).to(signal_CV)
    seen_NV, design_N9 = residual_NN @ measured.signal_NV, residual_NN @ basis_N9
    variance_V = noise.whole_V * (plan.residual_dof / plan.n_directions)
    return foretell_order4(first_CV[ORDER_2], seen_NV, design_N9, variance_V, space)


def _filter_fitted(
    signal_CV: torch.Tensor, plan: FitPlan, noise: BandNoise, space: Neighbourhood
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Filter the fitted orders, in scanner units; of order 4 what order 2 does not foretell.

    Returns the coefficients (C, V), their expected error and what their RISH lack, (L, V).
    """
    smoothed = Smoothed(signal_CV[: ORDER_2.stop], space)
    weights_L3V = wiener_weights(smoothed, plan, noise, range(0, 4, 2))
    order4_9V = None
    if plan.order >= 4:
        first_CV = apply_filter(smoothed, weights_L3V)
        order4_9V = foretell_order4(
            first_CV[ORDER_2],
            signal_CV[ORDER_4],
            None,
            noise.whole_V * float(plan.noise_L[2]) / 9,
            space,
        )
        rest_CV = signal_CV.clone()
        rest_CV[ORDER_4] -= order4_9V
        smoothed = Smoothed(rest_CV, space, smoothed)
        fourth_L3V = wiener_weights(smoothed, plan, noise, range(4, 6, 2))
        weights_L3V = torch.cat([weights_L3V, fourth_L3V])
    filtered_CV = apply_filter(smoothed, weights_L3V)
    if order4_9V is not None:
        filtered_CV[ORDER_4] += order4_9V
    n_orders = len(weights_L3V)
    rows = slice(0, n_coefficients(2 * n_orders - 2))
    removed_LV = _energy(signal_CV[rows] - filtered_CV[rows], n_orders)
    noise_L1 = torch.as_tensor(plan.noise_L[:n_orders]).to(signal_CV)[:, None]
    bands_3V = torch.stack([noise.fine_V, noise.middle_V, noise.coarse_V])
    covered_LV = (weights_L3V * bands_3V).sum(1)
    # E|c - u d - t|^2 = E|n|^2 - 2 u E<n, d> + u^2 E|d|^2
    error_LV = noise_L1 * (noise.whole_V - 2 * covered_LV)
    error_LV = (error_LV + space.smooth(removed_LV, ENERGY_PASSES)).clamp_min(0)
    debiased_LV = _energy(signal_CV, n_orders) - _energy(filtered_CV, n_orders)
    missing_LV = space.smooth(debiased_LV - noise_L1 * noise.whole_V, ENERGY_PASSES)
    return filtered_CV, error_LV, missing_LV


def _energy(sh_CV: torch.Tensor, n_orders: int) -> torch.Tensor:
    """Sum of squares of the lowest orders, (L, V)."""
    parts = order_rows(len(sh_CV))[:n_orders]
    return torch.stack([sh_CV[rows.start : rows.stop].square().sum(0) for rows in parts])
