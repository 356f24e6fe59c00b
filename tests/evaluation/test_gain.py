"""Gain of the samples: what helps is used, what does not is left."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.evaluation.gain import TRIED, best_gain


@pytest.mark.parametrize("at", [0.1, 0.35, 0.9])
def test_lowest_point_of_a_parabola_is_found(at):
    change = np.array([2.0 * ((g - at) ** 2 - at**2) for g in TRIED])
    assert best_gain(change) == pytest.approx(at, abs=1e-3)


def test_where_regression_alone_wins_nothing_is_added():
    assert best_gain(np.array([0.02, 0.05])) == 0.0
    # worse at all gains, though less so at high ones
    assert best_gain(np.array([0.02, 0.01])) == 0.0


def test_no_more_than_all_of_the_samples_is_added():
    assert best_gain(np.array([-0.4, -0.8])) == 1.0
    assert best_gain(np.array([-0.4, -0.9])) == 1.0
