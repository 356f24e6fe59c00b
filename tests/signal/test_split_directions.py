"""Halves of a shell's directions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dmri7t.signal.gradients import split_directions
from dmri7t.signal.harmonics import plan_fit
from dmri7t.simulation.acquisition import spread_directions


@pytest.mark.parametrize("n", [24, 31, 60])
def test_both_halves_are_spread_well(n):
    directions = spread_directions(n)
    halves = split_directions(directions)
    assert sorted(halves[0] + halves[1]) == list(range(n))
    assert 0 <= len(halves[0]) - len(halves[1]) <= 1
    for half in halves:
        # condition of the order-2 fit: evenly spread directions have one near 1
        spread = np.linalg.cond(plan_fit(directions[half], 2, 0.0).matrix_CN)
        assert spread < 2.5


def test_halves_are_the_best_of_all_where_all_can_be_tried():
    directions = spread_directions(10)

    def energy(half: list[int]) -> float:
        pairs = combinations(directions[half], 2)
        return sum(1 / np.linalg.norm(a - b) + 1 / np.linalg.norm(a + b) for a, b in pairs)

    def both(half: list[int]) -> float:
        return energy(half) + energy([i for i in range(10) if i not in half])

    best = min(both(list(half)) for half in combinations(range(10), 5))
    assert both(split_directions(directions)[0]) == pytest.approx(best, rel=0.02)
