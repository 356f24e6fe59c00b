"""Shares of what networks add: what helps is used, what does not is left."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.calibration.shares import TRIED, best_share


def subjects(change: np.ndarray, spread: float = 0.0) -> np.ndarray:
    """Changes of twenty subjects around these, whose mean they are."""
    offsets = spread * np.linspace(-1, 1, 20)[:, None]
    return change + offsets * change / np.abs(change)


@pytest.mark.parametrize("at", [0.1, 0.35, 0.9])
def test_lowest_point_of_a_parabola_is_found(at):
    change = np.array([2.0 * ((g - at) ** 2 - at**2) for g in TRIED])
    assert best_share(subjects(change)) == pytest.approx(at, abs=1e-3)


def test_where_regression_alone_wins_nothing_is_added():
    assert best_share(subjects(np.array([0.02, 0.05]))) == 0.0
    # worse at all shares, though less so at high ones
    assert best_share(subjects(np.array([0.02, 0.01]))) == 0.0


def test_no_more_than_all_is_added():
    assert best_share(subjects(np.array([-0.4, -0.8]))) == 1.0
    assert best_share(subjects(np.array([-0.4, -0.9]))) == 1.0


def test_what_chance_may_explain_is_no_improvement():
    """The same mean, on subjects that agree and on such that do not; and on a single one."""
    change = np.array([-0.02, -0.03])
    assert best_share(subjects(change, spread=0.02)) > 0.5
    assert best_share(subjects(change, spread=0.4)) == 0.0
    assert best_share(change[None]) == 0.0
