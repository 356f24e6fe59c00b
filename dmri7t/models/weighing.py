"""What part a model and the filter have in a shell's result: the scan itself is asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
import torch

from dmri7t.models.results import Generated
from dmri7t.models.translator import Translator, Upsampling
from dmri7t.signal.band_noise import tells_noise
from dmri7t.signal.clean import denoise_voxels
from dmri7t.signal.estimate import ShellEstimate
from dmri7t.signal.filter import filter_shell
from dmri7t.signal.finer import NOT_SHOWN, Coarsened, weigh_finer, weigh_rish
from dmri7t.signal.gate import FEWEST, weigh
from dmri7t.signal.harmonics import fit, plan_fit
from dmri7t.signal.held_out import Evidence
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import floor_b0, scanner_noise
from dmri7t.signal.rish import LOWER, UPPER, harmonize, rish, scale_factors
from dmri7t.signal.shell import Brain, Shell, ShellFit, ShellSignal

REFINEMENTS = ("filter", "model")
"""What the fit of a shell is refined by, one after the other."""

FINER = 1.05
"""How much finer the output's voxels must be for the scan to be asked how sharp they should be."""

MOST_COARSER = 1.5
"""Most by which the scan is made coarser to ask it: little would be left of it."""

ENERGY = 1.0
"""How far the filtered coefficients are scaled to the energy of the true ones.

The whole way costs real scans a little error of the signals, and saves FA from being too low."""

UNASKED = 0.5
"""Share of the model's order 0 where a shell has too few directions to be asked and the output is
finer. Chosen on scans of four people, made coarser: see the documentation (method)."""

UNASKED_RISH = (UNASKED, 0.4, NOT_SHOWN)
"""Shares of the model's RISH in the maps of RISH where halves are too few directions to be asked;
of order 0 on a finer grid alone. Chosen on scans of two people."""

BY_OTHERS = "; the model's part is the one that helped on other people's scans"

BY_MODEL = "the model scales the coefficients wholly, as in the paper"

HELD = "; its order 0 is held to the scan"


@attrs.frozen
class Weighing:
    """How shares are decided.

    Parameters
    ----------
    by_scan : bool
        By the scan; else the fit is scaled wholly to the model's RISH.
    energy : float
        Of the filtered coefficients.
    bounds : tuple of float
        Of the factors by which coefficients are scaled to the model's RISH.
    order, laplace_beltrami
        Of the fit, where they were asked for.
    compare : bool
        Whether MP-PCA is compared, too.
    whole_model : bool
        Whether all is the model's in the end, as for a sample: the scan tells what its filter
        gains, and of the model it is told only.
    upsampling : {"model", "bspline"}
    remove_floor : bool
        Whether the floor of the noise is taken out of the filtered coefficients. Directions that
        are left out cannot say: they have it, too.
    hold : bool
        Whether order 0 of a model that scales wholly is held to the scan's own. Where the scan
        decides, it always is.
    """

    by_scan: bool = True
    energy: float = ENERGY
    bounds: tuple[float, float] = (LOWER, UPPER)
    order: int | None = None
    laplace_beltrami: float | None = None
    compare: bool = False
    whole_model: bool = False
    upsampling: Upsampling = "model"
    remove_floor: bool = True
    hold: bool = True

    @classmethod
    def of_form(cls, form: str, **changes: Any) -> Weighing:
        """As the app decides for models of a form, with changes.

        Parameters
        ----------
        form : {"residual", "direct", "regression"}
            The scan decides for the first; the others are run as the paper runs its own, and held.
        **changes
            Other fields.
        """
        return cls(by_scan=form == "residual", **changes)


def estimate_shell(
    translator: Translator,
    measured: ShellSignal,
    shell: Shell,
    voxel_out: Sequence[float] | np.ndarray,
    weighing: Weighing = Weighing(),
) -> ShellEstimate:
    """Estimate the coefficients of a shell, and decide what part the model has in them.

    Parameters
    ----------
    translator : Translator
    measured : ShellSignal
    shell : Shell
        Of it.
    voxel_out : sequence of three floats
        Voxel sizes of the output, mm. Where they are finer than the scan's, the scan is asked how
        sharp they should be by making it coarser by as much.
    weighing : Weighing
    """
    evidence = ask_shell(translator, measured, voxel_out, weighing)
    return mix_shell(measured, shell, evidence, weighing)


def ask_shell(
    translator: Translator,
    measured: ShellSignal,
    voxel_out: Sequence[float] | np.ndarray,
    weighing: Weighing = Weighing(),
) -> Evidence:
    """Ask a shell what part filter and model should have in its result.

    Parameters
    ----------
    translator, measured, voxel_out, weighing
        As in :func:`estimate_shell`.
    """
    plan = plan_fit(measured.directions_N3, weighing.order, weighing.laplace_beltrami)
    n, levels = len(measured.directions_N3), plan.order // 2 + 1
    factor = finer_by(measured.brain, voxel_out)
    if not weighing.by_scan:
        n_scaled = min(levels, len(ORDERS))
        reason = BY_MODEL + HELD * weighing.hold
        return Evidence(((0.0,) * n_scaled, (1.0,) * n_scaled), reason=reason)
    if n < FEWEST:
        tells = tells_noise(plan)
        of_model = UNASKED if tells and factor >= FINER else 0.0
        return Evidence(
            ((float(tells),) * levels, (of_model,) + (0.0,) * (levels - 1)),
            rish_shares=_unasked_rish(factor) if tells else (),
            reason=f"{n} directions; from {FEWEST} on some can be left out{BY_OTHERS * tells}",
        )
    sigma = scanner_noise(measured.relative_noise(plan), measured.b0_V)
    return _ask(translator, measured, sigma, factor, weighing)


def mix_shell(
    measured: ShellSignal, shell: Shell, evidence: Evidence, weighing: Weighing = Weighing()
) -> ShellEstimate:
    """Filter the coefficients of a shell, and take of that what the shell's answer says.

    Parameters
    ----------
    measured : ShellSignal
    shell : Shell
        Of it.
    evidence : Evidence
        See :func:`ask_shell`.
    weighing : Weighing
    """
    if not weighing.by_scan:
        return _as_measured(measured, shell, evidence, weighing)
    filtered = filter_shell(measured, shell)
    estimate = ShellEstimate.mixed(shell, measured.b0_V, filtered, weighing.energy, evidence)
    if weighing.remove_floor and tells_noise(shell.plan) and any(evidence.shares[0]):
        sigma = scanner_noise(shell.sigma_V, measured.b0_V)
        estimate = estimate.without_floor(sigma, measured.brain.mask)
    if weighing.whole_model:
        whole = (1.0,) * len(ORDERS)
        estimate = attrs.evolve(estimate, model_shares=whole, rish_shares=whole)
    return estimate


def _as_measured(
    measured: ShellSignal, shell: Shell, evidence: Evidence, weighing: Weighing
) -> ShellEstimate:
    """Take the fit as it is; what order 0 of the model is held to has no floor of the noise."""
    estimate = ShellEstimate.as_measured(shell, measured.b0_V, evidence.reason)
    if not weighing.hold:
        return estimate
    estimate = estimate.held(shell.sigma_V)
    if not weighing.remove_floor:
        return estimate
    sigma = scanner_noise(shell.sigma_V, measured.b0_V)
    return estimate.without_floor(sigma, measured.brain.mask, highest=0)


def finer_by(brain: Brain, voxel_out: Sequence[float] | np.ndarray) -> float:
    """By how much finer voxels of an output are than a brain's: the mean over axes, bounded.

    Examples
    --------
    >>> from dmri7t.signal.grids import Grid
    >>> brain = Brain(np.ones((2, 2, 2), bool), Grid((2, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0])))
    >>> finer_by(brain, (1.6, 1.6, 1.6)), finer_by(brain, (0.5, 0.5, 0.5))
    (1.25, 1.5)
    """
    ratio = np.asarray(brain.voxel_sizes) / np.asarray(voxel_out)
    return round(float(np.clip(ratio.prod() ** (1 / 3), 1, MOST_COARSER)), 6)


def _ask(
    translator: Translator,
    measured: ShellSignal,
    sigma: float,
    factor: float,
    weighing: Weighing,
) -> Evidence:
    """Ask the shell what part filter and model should have."""
    other = ("mppca", partial(_fit_denoised, weighing)) if weighing.compare else None
    if factor < FINER:
        shell = Coarsened.of(measured, 1.0)
        refine = partial(_refine, translator, weighing)
        evidence = weigh(measured, refine, REFINEMENTS, sigma, other)
    else:
        # how sharp the model's RISH are is no question of the scan's own grid
        shell = Coarsened.of(measured, factor)
        evidence = weigh(measured, partial(_filter, weighing), REFINEMENTS[:1], sigma, other)
        sharp = weigh_finer(shell, partial(_refine_finer, translator, weighing, evidence), sigma)
        evidence = attrs.evolve(
            evidence,
            shares=evidence.shares + sharp.shares,
            coarser=sharp.coarser,
            factor=factor,
        )
    maps = partial(_rish, translator, weighing, evidence)
    part = shell.part
    b0_V = filter_shell(part, ShellFit.of(part, weighing.order, weighing.laplace_beltrami)).b0_V
    of_rish = weigh_rish(shell, maps, sigma, b0_V) or _unasked_rish(factor)
    return attrs.evolve(evidence, rish_shares=of_rish)


def _unasked_rish(factor: float) -> tuple[float, ...]:
    """Shares of the model in maps of RISH of a shell that cannot be asked for them."""
    return UNASKED_RISH if factor >= FINER else (0.0, *UNASKED_RISH[1:])


def _filter(weighing: Weighing, measured: ShellSignal) -> list[torch.Tensor]:
    """Fit and filter on the input's grid, in scanner units."""
    fitted = ShellFit.of(measured, weighing.order, weighing.laplace_beltrami)
    filtered = filter_shell(measured, fitted)
    filtered_CV = filtered.with_energy(weighing.energy)
    fitted_CV = _as_high(fitted.sh_CV, filtered_CV) * floor_b0(measured.b0_V)
    return [fitted_CV, filtered_CV * floor_b0(filtered.b0_V)]


def _as_high(fitted_CV: torch.Tensor, filtered_CV: torch.Tensor) -> torch.Tensor:
    """Fitted coefficients with zeros for an order that is foretold, and was not fitted."""
    missing = len(filtered_CV) - len(fitted_CV)
    return torch.cat([fitted_CV, fitted_CV.new_zeros(missing, fitted_CV.shape[1])])


def _refine(
    translator: Translator, weighing: Weighing, measured: ShellSignal
) -> list[torch.Tensor]:
    """Fit, filter and scale to the model's RISH on the input's grid, in scanner units."""
    shell = Shell.from_signal(measured, weighing.order, weighing.laplace_beltrami)
    filtered = filter_shell(measured, shell)
    filtered_CV = filtered.with_energy(weighing.energy)
    rish7_3V = translator.regress(shell)
    n = shell.n_orders
    factor_LV, _ = scale_factors(rish(filtered_CV)[:n], rish7_3V[:n], *weighing.bounds)
    divisor_V = floor_b0(filtered.b0_V)
    return [
        _as_high(shell.sh_CV, filtered_CV) * floor_b0(measured.b0_V),
        filtered_CV * divisor_V,
        harmonize(filtered_CV, factor_LV) * divisor_V,
    ]


def _refine_finer(
    translator: Translator,
    weighing: Weighing,
    evidence: Evidence,
    measured: ShellSignal,
    brain: Brain,
) -> list[torch.Tensor]:
    """Interpolate, do so with filtered coefficients, and scale these to the model's RISH, on the
    finer grid of a brain, in scanner units."""
    shell, estimate, generated = _generate(translator, weighing, evidence, measured, brain)
    regrid = Regrid(measured.brain, brain)
    fine_CV = regrid(estimate.sh_CV)
    whole_CV, _ = estimate.scaled(fine_CV, generated.model_3V, weighing.bounds)
    plain_V, divisor_V = (floor_b0(regrid.positive(v)) for v in (measured.b0_V, estimate.b0_V))
    return [regrid(shell.sh_CV) * plain_V, fine_CV * divisor_V, whole_CV * divisor_V]


def _rish(
    translator: Translator,
    weighing: Weighing,
    evidence: Evidence,
    measured: ShellSignal,
    brain: Brain,
) -> tuple[torch.Tensor, torch.Tensor]:
    """RISH of the scan itself and the model's, on the grid of a brain."""
    _, _, generated = _generate(translator, weighing, evidence, measured, brain)
    return generated.mean_3V, generated.model_3V


def _generate(
    translator: Translator,
    weighing: Weighing,
    evidence: Evidence,
    measured: ShellSignal,
    brain: Brain,
) -> tuple[Shell, ShellEstimate, Generated]:
    """Filter by the shares of the evidence, and generate RISH on the grid of a brain.

    The estimate takes all of the model's scaling and nothing of its RISH, so what is generated
    holds both the scan's own and the model's.
    """
    shell = Shell.from_signal(measured, weighing.order, weighing.laplace_beltrami)
    filtered = filter_shell(measured, shell)
    whole, nothing = (1.0,) * len(ORDERS), (0.0,) * len(ORDERS)
    shares = attrs.evolve(evidence, shares=(evidence.shares[0], whole), rish_shares=nothing)
    estimate = ShellEstimate.mixed(shell, measured.b0_V, filtered, weighing.energy, shares)
    encoded = translator.encode(shell, sampled=False, compared=False)
    decoded = translator.decode(encoded, None)
    generated = translator.super_resolve(encoded, decoded, brain, weighing.upsampling, estimate)
    return shell, estimate, generated


def _fit_denoised(weighing: Weighing, measured: ShellSignal) -> torch.Tensor:
    """Fit what MP-PCA leaves of a shell and its b0s, in scanner units."""
    b0s_MV = measured.b0_V[None] if measured.b0s_MV is None else measured.b0s_MV
    clean_NV = denoise_voxels(torch.cat([b0s_MV, measured.signal_NV]), measured.brain)
    plan = plan_fit(measured.directions_N3, weighing.order, weighing.laplace_beltrami)
    return fit(clean_NV[len(b0s_MV) :], plan)
