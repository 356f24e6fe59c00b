"""Forecast: what simulated scans improved by is found again."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.calibration.forecast import fit_forecast
from dmri7t.models.forecast import forecast
from dmri7t.signal.describe import Description


def test_forecast_finds_how_improvement_depends_on_noise():
    rng = np.random.default_rng(0)
    scans = [
        Description(
            [rng.uniform(1, 3)] * 3,
            rng.uniform(700, 3000),
            30,
            rng.uniform(0.02, 0.2),
            1.0,
            [0] * 3,
        )
        for _ in range(60)
    ]
    # the noisier, the larger the improvement: a slope of -1 in logarithms, and some scatter
    ratios = [0.5 * 0.05 / d.sigma * float(np.exp(0.1 * rng.normal())) for d in scans]
    fitted = fit_forecast(scans, {"R2": ratios})
    assert fitted["R2"].sd == pytest.approx(0.1, abs=0.03)
    quiet, loud = (
        forecast(fitted, Description([2.0] * 3, 1500, 30, s, 1.0, [0] * 3))["R2"]
        for s in (0.03, 0.15)
    )
    assert quiet.ratio / loud.ratio == pytest.approx(5, rel=0.15)
    assert loud.low < 0.5 * 0.05 / 0.15 < loud.high
