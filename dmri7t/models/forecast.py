"""How much a model may improve a scan, from how much it improved simulated scans like it.

That is the ratio of two errors against the truth: the model's, over that of plain interpolation.
Its logarithm is close to linear in what describes a scan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from dmri7t.models.fitted import ForecastFit, MapName
from dmri7t.signal.describe import Description

FEATURES = ("constant", "noise", "voxel size", "b-value", "directions", "correlated noise")
"""What the logarithm of the ratio is a weighted sum of."""

Z80 = 1.2816
"""80 % of a normal variable lie within so many standard deviations."""


@attrs.frozen
class Forecast:
    """Expected ratio of the model's NMSE over that of interpolation, and its 80 % range."""

    ratio: float
    low: float
    high: float


def features(description: Description) -> np.ndarray:
    """Numbers of order one, (6,), in the order of :data:`FEATURES`."""
    size = float(np.prod(description.voxel_sizes)) ** (1 / 3)
    return np.array(
        [
            1.0,
            math.log(max(description.sigma, 1e-3) / 0.05),
            2 * math.log(size / 1.6),
            description.bval / 1000 - 1.3,
            math.log(description.n_directions / 30),
            2 * float(np.mean(description.correlation)),
        ]
    )


def forecast(
    fits: Mapping[MapName, ForecastFit], description: Description
) -> dict[MapName, Forecast]:
    """Expected ratio for a scan, by map.

    Parameters
    ----------
    fits : dict of ForecastFit
        By map, from :func:`dmri7t.calibration.forecast.fit_forecast`.
    description : Description

    Examples
    --------
    >>> scan = Description([1.6] * 3, 1300, 30, 0.05, 1.0, [0.0] * 3)
    >>> fits = {"R2": ForecastFit(weights=(-0.6931, 0, 0, 0, 0, 0), sd=0.0)}
    >>> round(forecast(fits, scan)["R2"].ratio, 3)
    0.5
    """
    out: dict[MapName, Forecast] = {}
    for name, fit in fits.items():
        middle = float(np.dot(fit.weights, features(description)))
        reach = Z80 * fit.sd
        out[name] = Forecast(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))
    return out
