"""How much of what each network adds goes into a map; where regression alone wins, nothing.

The shares of the sampler's samples and of the super-resolution network are fitted to what users
get, NMSE of RISH and of FA on the 7T grid, on subjects that no training saw. What chance may
explain counts as no improvement: what costs time and adds detail has to earn it.
"""

from __future__ import annotations

import numpy as np

from dmri7t.evaluation.case import MAPS, Case
from dmri7t.evaluation.chain import harmonized
from dmri7t.evaluation.simulated import simulated_cases
from dmri7t.models.fitted import ShareChange, ShareFit, Shares, Triple
from dmri7t.models.plain import from_plain
from dmri7t.models.translator import Translator
from dmri7t.progress import track
from dmri7t.signal.estimate import ShellEstimate

SIZE = 48
"""Edge of the blocks, 3T voxels: half as much again as those of training."""

TRIED = (0.5, 1.0)
"""Shares that are tried beside none."""

NONE: Triple = (0.0, 0.0, 0.0)

SURE = 2.0
"""Standard errors by which a share has to be better than none."""


def fit_shares(translator: Translator, seeds: range) -> Shares:
    """Fit shares to simulated subjects.

    Each share is tried alone; what counts is the logarithm of NMSE over that without, of the
    order and of FA by half.

    Parameters
    ----------
    translator : Translator
        A model of the residual form.
    seeds : range
        Of the subjects, from ``SHARES`` of :mod:`dmri7t.simulation.subjects`.
    """
    changes = []
    cases = track(simulated_cases(seeds, "any", SIZE), "shares", len(seeds))
    for i, case in enumerate(cases):
        changes.append(_changes(translator, case, i))
    return choose_shares(np.stack(changes))


def choose_shares(change_N2TL: np.ndarray) -> Shares:
    """Choose the best shares by what changed on N subjects; see :func:`fit_shares`."""
    n = len(change_N2TL)
    samples, super_resolution = (_best_shares(kind) for kind in np.moveaxis(change_N2TL, 1, 0))
    fit = ShareFit(
        subjects=n,
        tried=TRIED,
        change=_share_change(change_N2TL.mean(0)),
        standard_error=_share_change(_standard_error(change_N2TL)) if n > 1 else None,
    )
    return Shares(samples=samples, super_resolution=super_resolution, fit=fit)


def _best_shares(change_NTL: np.ndarray) -> Triple:
    r0, r2, r4 = (best_share(change_NT) for change_NT in np.moveaxis(change_NTL, 2, 0))
    return r0, r2, r4


def _share_change(change_2TL: np.ndarray) -> ShareChange:
    samples, super_resolution = change_2TL.round(4).tolist()
    rows = {"samples": samples, "super_resolution": super_resolution}
    return from_plain(ShareChange, rows)


def _standard_error(change_N: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis; without a second subject nothing is known of it."""
    n = len(change_N)
    if n < 2:
        return np.full(change_N.shape[1:], np.inf)
    return change_N.std(0, ddof=1) / np.sqrt(n)


def _changes(translator: Translator, case: Case, seed: int) -> np.ndarray:
    """Change of the error with each share over none, (2, T, 3): samples, super-resolution."""
    scan, truth = case.scan, case.maps(case.truth)
    shell = scan.represent()
    encoded = translator.encode(shell)
    sampler = translator.config.sampler
    drawn = sampler.samples if sampler else None
    latents = translator.diffuse(encoded.latent, samples=drawn, seed=seed)
    # of the model alone: what the scan says of it is another matter
    whole = ShellEstimate.as_measured(shell, scan.b0_V, "")

    def errors(shares: Shares) -> np.ndarray:
        model = translator.evolve(shares=shares)
        decoded = model.decode(encoded, latents)
        generated = model.super_resolve(encoded, decoded, scan.brain_out)
        metrics = case.metrics(case.maps(harmonized(generated, scan, whole)), truth)
        return np.log([metrics[f"NMSE {name}"] for name in MAPS])

    without = errors(Shares(samples=NONE, super_resolution=NONE))
    change = np.zeros((2, len(TRIED), 3))
    for row, share in enumerate(TRIED):
        for order in range(3):
            r0, r2, r4 = (share * (n == order) for n in range(3))
            alone = (r0, r2, r4)
            for kind, (samples, super_resolution) in enumerate(((alone, NONE), (NONE, alone))):
                shares = Shares(samples=samples, super_resolution=super_resolution)
                difference = errors(shares) - without
                # RISH of an order, and what a user reads off all of them
                change[kind, row, order] = difference[[order, -1]].mean()
    return change


def best_share(change_NT: np.ndarray) -> float:
    """Share in 0 to 1 where a parabola through no change at 0 is lowest, if chance is not enough.

    Parameters
    ----------
    change_NT : ndarray
        Change of the error of N subjects at each of :data:`TRIED`.

    Examples
    --------
    >>> best_share(np.array([[0.1, 0.3]] * 4))
    0.0
    >>> best_share(np.array([[g * (g - 1) for g in TRIED]] * 4))
    0.5
    """
    tried = np.array(TRIED)
    parabolas_2N = np.linalg.lstsq(np.stack([tried, tried**2], 1), change_NT.T, rcond=None)[0]
    slope, curve = parabolas_2N.mean(1)
    lowest = -slope / (2 * curve) if curve > 0 else 0.0
    candidates = (0.0, float(np.clip(lowest, 0, 1)), 1.0)
    best = min(candidates, key=lambda g: slope * g + curve * g**2)
    change_N = np.array([best, best**2]) @ parabolas_2N
    sure = change_N.mean() + SURE * _standard_error(change_N) < 0
    return round(best, 3) if sure else 0.0
