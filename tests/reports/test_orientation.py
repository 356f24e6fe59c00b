"""Flipped gradient tables are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.reports.orientation import check_orientation
from dmri7t.reports.views import View

RNG = np.random.default_rng(3)


@pytest.fixture(params=["RAS", "LPS", "oblique"])
def bundles(request, phantom_side):
    """View, FA, and directions of thin oblique bundles: another course in each half."""
    side = phantom_side("in", 2.5, request.param)
    view = View.open(side.mask)
    x, y, z = (side.places_V3 @ view.axes_33).T
    left = x < 0
    along = np.where(left[:, None], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]) / np.sqrt(2)
    across = np.where(left, x - y, y - z) / np.sqrt(2)
    beside = np.where(left, z, x)
    inside = (across % 12 < 6) & (beside % 12 < 6)
    return view, np.where(inside, 0.7, 0.05), along @ view.axes_33.T


def test_right_table_fits(bundles):
    view, fa, directions = bundles
    check = check_orientation(view, fa, directions)
    assert not check.suspicious
    assert check.as_given > check.other + 0.1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flips_are_noticed(bundles, axis):
    view, fa, directions = bundles
    along = directions @ view.axes_33
    along[:, axis] *= -1
    check = check_orientation(view, fa, along @ view.axes_33.T)
    assert check.suspicious
    assert check.change == f"{'xyz'[axis]} flipped"


def test_exchanged_axes_are_noticed(bundles):
    view, fa, directions = bundles
    along = (directions @ view.axes_33)[:, [1, 0, 2]]
    check = check_orientation(view, fa, along @ view.axes_33.T)
    assert check.suspicious
    assert check.change == "axes in the order y, x, z"


def test_sign_of_a_direction_means_nothing(bundles):
    view, fa, directions = bundles
    signs = RNG.choice([-1, 1], len(fa))[:, None]
    one, other = (check_orientation(view, fa, d) for d in (directions, directions * signs))
    assert one.as_given == pytest.approx(other.as_given)


def test_little_white_matter_tells_nothing(bundles):
    view, fa, directions = bundles
    assert check_orientation(view, fa * 0.2, directions) is None
