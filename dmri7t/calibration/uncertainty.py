"""Intervals that hold the truth as often as they say: fitted and checked on simulated subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import torch

from dmri7t.calibration.forecast import fit_forecast
from dmri7t.evaluation.case import CLEAR, MAPS, Case, metrics_of
from dmri7t.evaluation.chain import harmonized, interpolate_shell
from dmri7t.evaluation.simulated import simulated_cases
from dmri7t.models.box import Box
from dmri7t.models.fitted import Calibration, Coverage, Intervals, Weights
from dmri7t.models.plain import from_plain
from dmri7t.models.translator import Translator
from dmri7t.models.uncertainty import Z90, anisotropy_sd, direction_cone, rish_sd, root_sd
from dmri7t.models.weighing import Weighing, estimate_shell
from dmri7t.progress import track
from dmri7t.signal.cone import LEVEL
from dmri7t.signal.describe import Description
from dmri7t.signal.principal import ORDER_2, angles, directions_of_order2

SAMPLED = 4000
"""Voxels taken from one subject."""

LEVELS = np.arange(0.1, 1.0, 0.1)
"""Nominal coverages of the plot; 0.9 is the one that is fitted."""


@attrs.frozen(eq=False)
class Sample:
    """Voxels of one subject where both the estimate and the truth are known.

    Parameters
    ----------
    terms : Tensor (5, 3, n)
    root, truth : Tensor (3, n)
        Scaled roots, estimated and true.
    order2, order2_truth : Tensor (5, n), optional
        Coefficients of order 2 over the scale of R2; None of a fit without that order.
    fa, fa_truth : Tensor (n,)
    description : Description
        Of the 3T scan.
    ratio : dict
        NMSE of the model over that of interpolation, by map.
    """

    terms: torch.Tensor
    root: torch.Tensor
    truth: torch.Tensor
    fa: torch.Tensor
    fa_truth: torch.Tensor
    description: Description
    ratio: dict[str, float]
    order2: torch.Tensor | None = None
    order2_truth: torch.Tensor | None = None


def draw_samples(translator: Translator, seeds: range, size: int) -> Iterator[Sample]:
    """Run the app's stages on simulated subjects, and keep some voxels of each.

    Parameters
    ----------
    translator : Translator
    seeds : range
        Of the subjects.
    size : int
        Edge of the simulated blocks in 3T voxels.
    """
    cases = track(simulated_cases(seeds, "any", size), "calibrate", len(seeds))
    for i, case in enumerate(cases):
        yield _sample(translator, case, i)


def _sample(translator: Translator, case: Case, seed: int) -> Sample:
    scan, truth = case.scan, case.truth
    shell = scan.represent()
    weighing = Weighing.of_form(translator.config.form)
    own = estimate_shell(translator, scan, shell, scan.brain_out.voxel_sizes, weighing)
    encoded = translator.encode(shell)
    decoded = translator.decode(encoded, translator.diffuse(encoded.latent, seed=seed))
    generated = translator.super_resolve(encoded, decoded, scan.brain_out, estimate=own)
    estimate = harmonized(generated, scan, own)
    ours = metrics_of(estimate, case)
    theirs = metrics_of(interpolate_shell(scan, shell), case)
    made = translator.resolve(encoded, decoded, scan.brain_out, estimate=own)
    kept = torch.as_tensor(case.counted[scan.brain_out.mask])
    chosen = torch.nonzero(kept).flatten()
    chosen = chosen[:: max(1, len(chosen) // SAMPLED)]
    box = Box.around(scan.brain_out)
    scale = translator.scale.cpu()
    return Sample(
        terms=box.pick(made.terms)[..., chosen],
        root=box.pick(made.root)[..., chosen],
        truth=truth.rish_3V[:, chosen].sqrt() / scale[:, None],
        fa=estimate.anisotropy(scan)[chosen],
        fa_truth=truth.anisotropy(scan)[chosen],
        description=shell.description,
        ratio={name: ours[f"NMSE {name}"] / theirs[f"NMSE {name}"] for name in MAPS},
        order2=None if made.order2 is None else box.pick(made.order2)[..., chosen],
        order2_truth=truth.sh_CV[ORDER_2][:, chosen].float() / scale[1],
    )


def fit_intervals(samples: list[Sample], scale: torch.Tensor) -> Intervals:
    """Fit the weights of the error's variance, order by order, and the factor of FA.

    Non-negative least squares of squared errors on the terms, every voxel weighted by the
    inverse of what is predicted for it (a square's spread grows with its mean); then one factor
    an order so that 90 % intervals of RISH hold 90 % of the voxels.

    Parameters
    ----------
    samples : list of Sample
    scale : Tensor (3,)
        The model's.
    """
    weights = []
    for order in range(3):
        terms = torch.cat([s.terms[:, order] for s in samples], 1).double().numpy()
        error = torch.cat([(s.root - s.truth)[order] for s in samples]).double().numpy()
        weights.append(_variance_weights(terms, error**2))
    for order in range(3):
        factor = _solve_factor(partial(_coverage, samples, weights, scale, order))
        weights[order] = [w * factor**2 for w in weights[order]]
    intervals = from_plain(
        Intervals, {"weights": weights, "fa_factor": 1.0, "subjects": len(samples)}
    )
    fa_factor = _solve_factor(
        lambda f: _fa_coverage(samples, attrs.evolve(intervals, fa_factor=f), scale)
    )
    return attrs.evolve(intervals, fa_factor=fa_factor, direction=fit_direction(samples))


def fit_direction(samples: Sequence[Sample]) -> Weights | None:
    """Fit what the error of the coefficients of order 2 is made of, so that cones hold directions.

    As :func:`fit_intervals`, of the five coefficients together; one factor then makes cones hold
    :data:`dmri7t.signal.cone.LEVEL` of the true directions where these are clear.

    Returns
    -------
    tuple of five floats
        None where no sample has order 2.
    """
    shown = [s for s in samples if s.order2 is not None]
    if not shown:
        return None
    terms = torch.cat([s.terms[:, 1] for s in shown], 1).double().numpy()
    squares = torch.cat([_order2_error(s) for s in shown]).double().numpy()
    weights = _variance_weights(terms, squares)
    off = [_degrees_off(s) for s in shown]

    factor = _solve_factor(lambda f: _held(shown, off, [w * f**2 for w in weights]), LEVEL)
    constant, spread, noise, signal, detail = (w * factor**2 for w in weights)
    return constant, spread, noise, signal, detail


def cone_coverage(samples: Sequence[Sample], weights: Weights) -> float:
    """Share of the true directions, where these are clear, that cones hold."""
    shown = [s for s in samples if s.order2 is not None]
    return _held(shown, [_degrees_off(s) for s in shown], weights)


def _held(
    samples: Sequence[Sample], off: Sequence[torch.Tensor], weights: Sequence[float]
) -> float:
    """Share of clear directions, known to be so many degrees off, that cones hold."""
    held = [o <= _clear_cone(s, weights) for s, o in zip(samples, off, strict=True)]
    return float(torch.cat(held).double().mean())


def _order2_error(sample: Sample) -> torch.Tensor:
    assert sample.order2 is not None and sample.order2_truth is not None
    return (sample.order2 - sample.order2_truth).square().sum(0)


def _clear(sample: Sample) -> torch.Tensor:
    """Voxels whose true direction is clear: a direction of the others is no more than chance."""
    return sample.truth[1] >= torch.quantile(sample.truth[1], CLEAR)


def _degrees_off(sample: Sample) -> torch.Tensor:
    assert sample.order2 is not None and sample.order2_truth is not None
    clear = _clear(sample)
    sides = (sample.order2[:, clear], sample.order2_truth[:, clear])
    return angles(*(directions_of_order2(side) for side in sides))


def _clear_cone(sample: Sample, weights: Sequence[float]) -> torch.Tensor:
    assert sample.order2 is not None
    clear = _clear(sample)
    return direction_cone(sample.order2[:, clear], sample.terms[:, 1][:, clear], weights)


def _variance_weights(terms_KV: np.ndarray, squares_V: np.ndarray) -> list[float]:
    from scipy.optimize import nnls

    predicted = np.full(len(squares_V), squares_V.mean())
    for _ in range(6):
        rows = 1 / predicted
        weights, _ = nnls((terms_KV * rows).T, squares_V * rows)
        # no voxel is known perfectly: a floor keeps one from ruling the fit
        predicted = np.maximum(weights @ terms_KV, 1e-3 * squares_V.mean())
    return [float(w) for w in weights]


def _solve_factor(coverage: Callable[[float], float], target: float = 0.9) -> float:
    """Find by bisection the factor at which intervals hold what they should."""
    low, high = 1e-2, 1e2
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if coverage(middle) < target else (low, middle)
    return (low * high) ** 0.5


def rish_of(
    sample: Sample, weights: Sequence[Sequence[float]], scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimate, its standard deviation and truth, RISH (3, n)."""
    unit = scale.cpu()[:, None]
    sd = rish_sd(sample.root * unit, root_sd(sample.terms, weights) * unit)
    return (sample.root * unit).square(), sd, (sample.truth * unit).square()


def _coverage(
    samples: list[Sample],
    weights: Sequence[Sequence[float]],
    scale: torch.Tensor,
    order: int,
    factor: float,
) -> float:
    scaled = [[w * factor**2 for w in row] for row in weights]
    inside = []
    for sample in samples:
        estimate, sd, truth = rish_of(sample, scaled, scale)
        inside.append((truth - estimate).abs()[order] <= Z90 * sd[order])
    return float(torch.cat(inside).double().mean())


def fa_sd_of(sample: Sample, intervals: Intervals, scale: torch.Tensor) -> torch.Tensor:
    """Standard deviation of FA (n,)."""
    estimate, sd, _ = rish_of(sample, intervals.weights, scale)
    return intervals.fa_factor * anisotropy_sd(sample.fa, estimate, sd, sample.description.bval)


def _fa_coverage(samples: list[Sample], intervals: Intervals, scale: torch.Tensor) -> float:
    inside = [(s.fa - s.fa_truth).abs() <= Z90 * fa_sd_of(s, intervals, scale) for s in samples]
    return float(torch.cat(inside).double().mean())


def coverage_table(
    samples: list[Sample], intervals: Intervals, scale: torch.Tensor
) -> pd.DataFrame:
    """How many voxels intervals hold: columns map, nominal, observed, scan_low, scan_high.

    The last two are the 10th and 90th percentile over subjects.
    """
    from scipy.stats import norm

    rows = []
    for m, name in enumerate(MAPS):
        ratios = []
        for sample in samples:
            if name == "FA":
                error, sd = sample.fa - sample.fa_truth, fa_sd_of(sample, intervals, scale)
            else:
                estimate, sds, truth = rish_of(sample, intervals.weights, scale)
                error, sd = (estimate - truth)[m], sds[m]
            ratios.append((error.abs() / sd.clamp_min(1e-12)).numpy())
        for level in LEVELS:
            reach = norm.ppf(0.5 + level / 2)
            each = np.array([(r <= reach).mean() for r in ratios])
            observed = float((np.concatenate(ratios) <= reach).mean())
            low, high = np.quantile(each, [0.1, 0.9])
            rows.append((name, float(level), observed, float(low), float(high)))
    return pd.DataFrame(rows, columns=["map", "nominal", "observed", "scan_low", "scan_high"])


def plot_coverage(table: pd.DataFrame, path: Path) -> None:
    """Draw observed against nominal coverage, a panel a map; a band for single subjects."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for ax, (name, part) in zip(
        figure.subplots(1, len(MAPS), sharey=True), table.groupby("map", sort=False), strict=True
    ):
        ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        ax.fill_between(part["nominal"], part["scan_low"], part["scan_high"], alpha=0.2)
        ax.plot(part["nominal"], part["observed"], marker="o", markersize=3)
        ax.set(title=name, xlabel="nominal coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.axes[0].set_ylabel("voxels within the interval")
    figure.savefig(path, dpi=120)


def calibrate(
    translator: Translator, seeds: range, check_seeds: range, size: int
) -> tuple[Calibration, pd.DataFrame]:
    """Fit intervals on some simulated subjects and check them on others.

    Parameters
    ----------
    translator : Translator
    seeds, check_seeds : range
        From ``INTERVAL_FIT`` and ``INTERVAL_CHECK`` of :mod:`dmri7t.simulation.subjects`.
    size : int
        Edge of the simulated blocks in 3T voxels.

    Returns
    -------
    calibration : Calibration
        For the model's description; with the forecast of how much a scan improves.
    table : DataFrame
        From :func:`coverage_table`, on the other subjects.
    """
    scale = translator.scale.cpu()
    samples = list(draw_samples(translator, seeds, size))
    intervals = fit_intervals(samples, scale)
    others = list(draw_samples(translator, check_seeds, size))
    table = coverage_table(others, intervals, scale)
    at_90 = table[np.isclose(table["nominal"], 0.9)].set_index("map")["observed"]
    observed = {name: round(float(at_90[name]), 4) for name in MAPS}
    # the forecast is of errors, not of intervals: all subjects may serve it
    every = [*samples, *others]
    ratios = {name: [s.ratio[name] for s in every] for name in MAPS}
    calibration = Calibration(
        intervals=intervals,
        check=Coverage(
            subjects=len(others),
            coverage_90=observed,
            cone_95=intervals.direction and round(cone_coverage(others, intervals.direction), 4),
        ),
        forecast=fit_forecast([s.description for s in every], ratios),
    )
    return calibration, table
