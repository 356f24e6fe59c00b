"""Steerable filters: the coefficients of a voxel from its own and its neighbours'.

Every even order l is split into three bands of space, from fine to coarse,

    c_l = (c_l - G1 c_l) + (G1 c_l - G3 c_l) + G3 c_l,

with G1 and G3 the binomial kernel applied once and three times within the mask. The estimate
keeps part of them:

    c^_l = c_l - u1 (c_l - G1 c_l) - u2 (G1 c_l - G3 c_l) - u3 G3 c_l,

u one number a voxel, order and band, the same for all m, made of rotation invariants: if head
and gradients turn, the estimate turns with them. Of the fine band of order 2 it is made a matrix
that turns with them, too (:mod:`dmri7t.signal.order2`). Of order 0, which has little noise, the
first band alone loses something, and the third of order 4 alone: c is there what order 2 does not
foretell of it (:mod:`dmri7t.signal.order4`), and may be nothing at all.

The Wiener weights need no training. With d a band, n the noise of c and e the mean of d squared
around a voxel, the expected error of c - u d is least at u = E<n, d> / e (Stein's unbiased risk;
Luisier et al. 2007, IEEE TIP 16:593), and E<n, d> is what the residuals of the fit show: they
hold noise alone, pass the same filters, and so tell how much of it there is, how it is
correlated, and where. White noise of variance s2 has E<n, c - G1 c> = s2 (1 - 1/8) within the
brain, 1/8 being the weight of a voxel in its own average. Two bands are asked for together, as
they overlap: where much of the fine one is taken out, some of the middle one is put back. The
third then loses what these two leave of its noise.

Coefficients are those of the signal in scanner units, not over its b0: there the noise is the
same in neighbouring voxels, and no noise of the divisor is smoothed over them.
"""

from __future__ import annotations

import attrs
import torch

from dmri7t.signal.band_noise import BandNoise, tells_noise
from dmri7t.signal.harmonics import FitPlan, basis_matrix, n_coefficients, order_rows
from dmri7t.signal.mean_b0 import filter_b0
from dmri7t.signal.neighbourhood import ENERGY_PASSES, Neighbourhood
from dmri7t.signal.order2 import take_fine_band
from dmri7t.signal.order4 import ORDER_2, ORDER_4, foretell_order4
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.shell import ShellFit, ShellSignal

ALL_BANDS = 4
"""Order from which the coarse band is filtered too: lower ones have little noise there."""

SPARED = (0.05, 0.15, 0.0)
"""Weights of the fine band of order 0, 2 and 4 below which it stays as it is; larger ones are less
by as much, the largest aside. Where there is little noise a filter gains next to nothing on the
scan's own grid, and costs sharpness on a finer one. Chosen on real scans, see the documentation
(method)."""

COARSE_SPARED = 0.3
"""The same for the coarse band of order 4 and above, where what is left may be crossings. Without
it C4 has 0.99 of the error on three simulated heads, and 8 % more of their crossings are missed."""

WIDE_PASSES = 8
"""Smoothings of the sums that weights of order 2 are made of in part: those over a few voxels are
too uncertain for two bands."""

WIDE_SHARE = 0.5
"""That part."""

MOST_BACK = 0.5
"""Most of the middle band of order 2 that is put back."""

MOST_ENERGY = 16.0
"""Most by which energy is scaled, up or down: of nearly none a ratio means nothing."""

GAIN_PASSES = 4
"""Smoothings of both energies whose ratio scales the coefficients: over some seven voxels an axis.
Voxel by voxel, those of little energy would be scaled most, and they are mostly noise."""

TELLING_DOF = 2.9
"""Residuals with fewer degrees of freedom, those of 8 directions and less, do not tell how large an
order is that was not fitted."""


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
        averages = self.space.averages(self.sh_CV[row])
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
        one, between 0 and 1; of order 2 the middle one may be below 0.
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
        products_KV = _band_products(smoothed, rows, all_bands)
        if index and not all_bands:
            near_KV, wide_KV = space.averages(products_KV, ENERGY_PASSES, WIDE_PASSES)
            sums_KV, least = near_KV.lerp_(wide_KV, WIDE_SHARE), -MOST_BACK
        else:
            sums_KV, least = space.smooth(products_KV, ENERGY_PASSES), 0.0
        fine_V, both_V, middle_V, *of_coarse = sums_KV
        second_V, third_V = torch.zeros_like(fine_V), torch.zeros_like(fine_V)
        if index:
            # both at once: the bands are not orthogonal
            second_V = (middle_noise_V * fine_V - fine_noise_V * both_V) / (
                fine_V * middle_V - both_V.square()
            ).clamp_min(tiny)
            second_V = second_V.clamp(least, 1)
        first_V = ((fine_noise_V - both_V * second_V) / fine_V.clamp_min(tiny)).clamp(0, 1)
        spared = SPARED[min(index, len(SPARED) - 1)]
        taken_V = ((first_V - spared) / (1 - spared)).clamp_min(0)
        # what is spared of the fine band is spared of the middle one in proportion
        second_V *= taken_V / first_V.clamp_min(tiny)
        if all_bands:
            # what the other two leave of the noise: they overlap with this band, too
            fine_coarse_V, middle_coarse_V, coarse_V = of_coarse
            left_V = noise.coarse_V * float(plan.noise_L[index])
            left_V = left_V - taken_V * fine_coarse_V - second_V * middle_coarse_V
            third_V = (left_V / coarse_V.clamp_min(tiny)).clamp(0, 1)
            third_V = ((third_V - COARSE_SPARED) / (1 - COARSE_SPARED)).clamp_min(0)
        weights.append(torch.stack([taken_V, second_V, third_V]))
    return torch.stack(weights)


def _band_products(smoothed: Smoothed, rows: range, with_coarse: bool) -> torch.Tensor:
    """Products of an order's bands, summed over its coefficients, (3, V): fine and fine, fine and
    middle, middle and middle; with the coarse one (6, V): its own with the three, too."""
    sh_CV = smoothed.sh_CV
    products_KV = sh_CV.new_zeros(6 if with_coarse else 3, sh_CV.shape[1])
    for row in rows:
        once_V, thrice_V = smoothed[row]
        fine_V, middle_V = sh_CV[row] - once_V, once_V - thrice_V
        pairs = [(fine_V, fine_V), (fine_V, middle_V), (middle_V, middle_V)]
        if with_coarse:
            pairs += [(band_V, thrice_V) for band_V in (fine_V, middle_V, thrice_V)]
        for product_V, (one_V, other_V) in zip(products_KV, pairs, strict=True):
            product_V.addcmul_(one_V, other_V)
    return products_KV


def filter_order2(
    smoothed: Smoothed, weights_3V: torch.Tensor, plan: FitPlan, space: Neighbourhood
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take parts of the bands out of order 2, of the fine one by :mod:`dmri7t.signal.order2`.

    Parameters
    ----------
    smoothed : Smoothed
    weights_3V : Tensor (3, V)
        Of order 2.
    plan : FitPlan
    space : Neighbourhood

    Returns
    -------
    sh : Tensor (5, V)
    weights : Tensor (3, V)
        What part of each band's noise was taken out.
    """
    first_V, second_V, third_V = weights_3V
    sh_5V = smoothed.sh_CV[ORDER_2]
    averages = [smoothed[row] for row in range(ORDER_2.start, ORDER_2.stop)]
    once_5V, thrice_5V = (torch.stack(rows) for rows in zip(*averages, strict=True))
    taken_5V, part_V = take_fine_band(sh_5V - once_5V, first_V, plan, space)
    out_5V = sh_5V - taken_5V - second_V * (once_5V - thrice_5V)
    return out_5V, torch.stack([part_V, second_V, third_V])


def apply_filter(
    smoothed: Smoothed, weights_L3V: torch.Tensor, order2_5V: torch.Tensor | None = None
) -> torch.Tensor:
    """Take parts of the bands out of every order; higher orders take the last one's weights.

    Parameters
    ----------
    smoothed : Smoothed
        Coefficients (C, V).
    weights_L3V : Tensor (L, 3, V)
    order2_5V : Tensor (5, V), optional
        Order 2, where it was filtered already.

    Returns
    -------
    Tensor (C, V)
    """
    sh_CV = smoothed.sh_CV
    out_CV = torch.empty_like(sh_CV)
    for index, rows in enumerate(order_rows(len(sh_CV))):
        if index == 1 and order2_5V is not None:
            out_CV[ORDER_2] = order2_5V
            continue
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
    gain_2V : Tensor (2, V)
        Energy of the true coefficients of orders 0 and 2 in a voxel's surroundings over that of
        ``sh_CV`` there.
    b0_V : Tensor (V,)
        Mean b0, filtered as well.
    """

    sh_CV: torch.Tensor
    error_LV: torch.Tensor
    missing_LV: torch.Tensor
    gain_2V: torch.Tensor
    b0_V: torch.Tensor

    def with_energy(self, share: float) -> torch.Tensor:
        """Scale the coefficients (C, V) part of the way to the energy of the true ones.

        Orders 0 and 2, by their gain to the power of half the share. Order 4 stays as it is: what
        was foretold of it is as large as what was measured, and the rest mostly noise.

        Parameters
        ----------
        share : float
            0: least error, and RISH that are too small; 1: RISH as large as the truth's.
        """
        out_CV = self.sh_CV.clone()
        for rows, gain_V in zip(order_rows(len(out_CV)), self.gain_2V, strict=False):
            out_CV[rows.start : rows.stop] *= gain_V ** (share / 2)
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
        return Filtered(sh_CV, error_LV, -error_LV, torch.ones_like(sh_CV[:2]), measured.b0_V)
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
    orders = _filter_fitted(signal_CV, plan, noise, space)
    filtered_CV, missing_LV = orders.sh_CV, orders.missing_LV
    if order4_9V is not None:
        filtered_CV = torch.cat([filtered_CV, order4_9V])
        # its factor makes it as large as what was measured
        missing_LV = torch.cat([missing_LV, torch.zeros_like(missing_LV[:1])])
    b0_V = filter_b0(measured.b0_V, noise.fine_V / max(measured.n_b0, 1), space)
    divisor_V = floor_b0(b0_V)
    power_V = divisor_V.square()
    return Filtered(
        filtered_CV.div_(divisor_V),
        orders.error_LV / power_V,
        missing_LV / power_V,
        orders.gain_2V,
        b0_V,
    )


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
    first_CV = _filter_fitted(signal_CV, plan, noise, space).sh_CV
    residual_NN = torch.as_tensor(plan.residual_NN).to(signal_CV)
    seen_NV, design_N9 = residual_NN @ measured.signal_NV, residual_NN @ basis_N9
    variance_V = noise.whole_V * (plan.residual_dof / plan.n_directions)
    return foretell_order4(first_CV[ORDER_2], seen_NV, design_N9, variance_V, space)


@attrs.frozen(eq=False)
class _Orders:
    """Fitted orders, filtered, and what :class:`Filtered` says of them, in scanner units."""

    sh_CV: torch.Tensor
    error_LV: torch.Tensor
    missing_LV: torch.Tensor
    gain_2V: torch.Tensor


def _filter_fitted(
    signal_CV: torch.Tensor, plan: FitPlan, noise: BandNoise, space: Neighbourhood
) -> _Orders:
    """Filter the fitted orders, in scanner units; of order 4 what order 2 does not foretell."""
    smoothed = Smoothed(signal_CV[: ORDER_2.stop], space)
    weights_L3V = wiener_weights(smoothed, plan, noise, range(0, 4, 2))
    order2_5V, weights_L3V[1] = filter_order2(smoothed, weights_L3V[1], plan, space)
    order4_9V = None
    if plan.order >= 4:
        order4_9V = foretell_order4(
            order2_5V,
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
    filtered_CV = apply_filter(smoothed, weights_L3V, order2_5V)
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
    energy_LV = _energy(filtered_CV, n_orders)
    lacking_LV = _energy(signal_CV, n_orders) - noise_L1 * noise.whole_V - energy_LV
    missing_LV = space.smooth(lacking_LV, ENERGY_PASSES)
    sums_2V, lacking_2V = space.smooth(torch.stack([energy_LV[:2], lacking_LV[:2]]), GAIN_PASSES)
    gain_2V = 1 + lacking_2V / sums_2V.clamp_min(torch.finfo(sums_2V.dtype).tiny)
    return _Orders(filtered_CV, error_LV, missing_LV, gain_2V.clamp(1 / MOST_ENERGY, MOST_ENERGY))


def _energy(sh_CV: torch.Tensor, n_orders: int) -> torch.Tensor:
    """Sum of squares of the lowest orders, (L, V)."""
    parts = order_rows(len(sh_CV))[:n_orders]
    return torch.stack([sh_CV[rows.start : rows.stop].square().sum(0) for rows in parts])
