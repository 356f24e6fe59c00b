"""How much of the diffusion's samples a map gains from; where regression alone wins, none of them.

Training fits the sampler's gain to validation scans in the decoder's own terms. Here it is fitted
to what users get: NMSE of RISH on the 7T grid, on subjects that no training saw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dmri7t.evaluation.case import MAPS, Case
from dmri7t.evaluation.chain import encode_shell, harmonized
from dmri7t.evaluation.simulated import simulated_cases
from dmri7t.models.translator import Translator

FIRST_SEED = 1_850_000
"""Subjects to whom the gain is fitted have seeds from here on, apart from all others."""

SIZE = 48
"""Edge of the blocks, 3T voxels: half as much again as those of training."""

TRIED = (0.5, 1.0)
"""Gains that are tried beside none."""


def fit_gain(translator: Translator, n: int) -> dict[str, Any]:
    """Fit the gain to ``n`` simulated subjects and set it in the translator's description.

    Parameters
    ----------
    translator : Translator
        A model of the residual form.
    n : int

    Returns
    -------
    dict
        subjects; tried, the gains that were tried; and change, for each of these the mean over
        subjects of the logarithm of NMSE over that without samples, for R0, R2 and R4.
    """
    changes = []
    for i, case in enumerate(simulated_cases(n, FIRST_SEED, "any", SIZE)):
        changes.append(_changes(translator, case, i))
        print(f"[gain] subject {i + 1} of {n}", flush=True)
    mean_TM = np.mean(changes, 0)
    gain = [best_gain(mean_TM[:, order]) for order in range(3)]
    translator.config["sampler"] = translator.config["sampler"] | {"gain": gain}
    return {"subjects": n, "tried": list(TRIED), "change": mean_TM.round(4).tolist()}


def _changes(translator: Translator, case: Case, seed: int) -> np.ndarray:
    """Logarithm of NMSE with each of the tried gains over that without, (T, 3)."""
    scan, wanted = case.scan, case.maps(case.truth)
    rep = scan.represent()
    encoded = encode_shell(translator, scan, rep)
    diffused = translator.diffuse(encoded, seed=seed)
    usual = translator.config["sampler"]
    found = []
    for gain in (0.0, *TRIED):
        translator.config["sampler"] = usual | {"gain": [gain] * 3}
        decoded = translator.decode(encoded, diffused, scan.mask)
        made = harmonized(translator, scan, rep, encoded, decoded, "model")
        figures = case.figures(case.maps(made), wanted)
        found.append([figures[f"NMSE {name}"] for name in MAPS[:3]])
    translator.config["sampler"] = usual
    return np.log(found[1:]) - np.log(found[0])


def best_gain(change_T: np.ndarray) -> float:
    """Gain in 0 to 1 where a parabola through no change at 0 is lowest.

    Parameters
    ----------
    change_T : ndarray
        Change of the error at each of :data:`TRIED`.

    Examples
    --------
    >>> best_gain(np.array([0.1, 0.3]))
    0.0
    >>> best_gain(np.array([g * (g - 1) for g in TRIED]))
    0.5
    """
    tried = np.array(TRIED)
    slope, curve = np.linalg.lstsq(np.stack([tried, tried**2], 1), change_T, rcond=None)[0]
    lowest = -slope / (2 * curve) if curve > 0 else 0.0
    candidates = (0.0, float(np.clip(lowest, 0, 1)), 1.0)
    return round(min(candidates, key=lambda g: slope * g + curve * g**2), 3)
