"""Fit the forecast of how much a model improves a scan, to simulated scans it improved."""

from __future__ import annotations

import numpy as np

from dmri7t.models.fitted import ForecastFit, MapName
from dmri7t.models.forecast import FEATURES, features
from dmri7t.models.plain import from_plain
from dmri7t.signal.describe import Description

RIDGE = 1.0
"""Weight of the penalty on all but the constant: few subjects, correlated features."""


def fit_forecast(
    descriptions: list[Description], ratios: dict[MapName, list[float]]
) -> dict[MapName, ForecastFit]:
    """Fit the forecast of every map by ridge regression.

    Parameters
    ----------
    descriptions : list of Description
        Of N simulated scans.
    ratios : dict of list of N floats
        NMSE of the model over that of interpolation, by map.

    Returns
    -------
    dict of ForecastFit
        By map.
    """
    x_NF = np.stack([features(d) for d in descriptions])
    penalty = RIDGE * np.diag([0.0, *[1.0] * (len(FEATURES) - 1)])
    out: dict[MapName, ForecastFit] = {}
    for name, values in ratios.items():
        log_N = np.log(values)
        normal = x_NF.T @ x_NF + penalty
        weights = np.linalg.solve(normal, x_NF.T @ log_N)
        # degrees of freedom that the penalised fit uses up
        used = float(np.trace(np.linalg.solve(normal, x_NF.T @ x_NF)))
        power = float(((log_N - x_NF @ weights) ** 2).sum()) / max(len(log_N) - used, 1.0)
        rounded = {"weights": [round(float(w), 5) for w in weights], "sd": round(power**0.5, 5)}
        out[name] = from_plain(ForecastFit, rounded)
    return out
