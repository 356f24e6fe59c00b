"""Weights of order 2 that differ between the directions in which it varies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import plan_fit
from dmri7t.signal.neighbourhood import Neighbourhood
from dmri7t.signal.order2 import RIDGE, _solve, take_fine_band
from dmri7t.signal.shell import Brain

SHAPE = (20, 21, 22)
SPACE = Neighbourhood(Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))))
PLAN = plan_fit(fibonacci_directions(40), order=4)


def white(seed: int) -> torch.Tensor:
    """Noise (5, V) of a fit whose noise has unit variance on the mean of its coefficients."""
    rows_5N = PLAN.matrix_CN[1:6]
    rows_5N = rows_5N / np.sqrt((rows_5N**2).sum(1).mean())
    values = np.random.default_rng(seed).normal(size=(rows_5N.shape[1], SPACE.n_voxels))
    return torch.from_numpy(rows_5N @ values).float()


def test_systems_are_solved_as_by_a_library():
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(5, 8, 200, generator=generator, dtype=torch.float64)
    matrix_55V = torch.einsum("ikv,jkv->ijv", half, half)
    side_5V = torch.randn(5, 200, generator=generator, dtype=torch.float64)
    solved_5V, trace_V = _solve(matrix_55V, side_5V)
    matrix_V55 = matrix_55V.permute(2, 0, 1)
    expected_V5 = torch.linalg.solve(matrix_V55, side_5V.T)
    torch.testing.assert_close(solved_5V, expected_V5.T)
    inverse_V55 = torch.linalg.inv(matrix_V55)
    torch.testing.assert_close(trace_V, inverse_V55.diagonal(dim1=1, dim2=2).sum(1))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
def test_where_all_directions_are_alike_the_weight_is_one_for_all(weight):
    band_5V = white(1)
    taken_5V, part_V = take_fine_band(band_5V, torch.full((SPACE.n_voxels,), weight), PLAN, SPACE)
    assert float(part_V.mean()) == pytest.approx(weight, abs=0.03)
    error = (taken_5V - weight * band_5V).square().mean() / band_5V.square().mean()
    assert float(error) < 0.02


def test_what_neighbours_vary_in_stays_and_the_rest_is_taken():
    """Detail along one direction of the five: the error is well below that of one weight."""
    direction_5 = torch.tensor([0.0, 0.6, 0.0, -0.8, 0.0])
    generator = torch.Generator().manual_seed(4)
    detail_5V = 2 * direction_5[:, None] * torch.randn(SPACE.n_voxels, generator=generator)
    band_5V = detail_5V + white(2)
    # the best one weight for all: noise over all there is
    weight = float(5 / band_5V.square().sum(0).mean())
    taken_5V, part_V = take_fine_band(band_5V, torch.full((SPACE.n_voxels,), weight), PLAN, SPACE)

    def error(taken: torch.Tensor) -> float:
        return float((band_5V - taken - detail_5V).square().sum(0).mean())

    # four directions of five hold noise alone, and could lose all of it
    assert error(taken_5V) < 0.65 * error(weight * band_5V)
    along_V = direction_5 @ taken_5V / (direction_5 @ band_5V)
    assert float(along_V.median()) < weight < float(part_V.mean())


def test_the_part_is_that_of_the_noise_that_is_taken():
    """But for a voxel's own noise, which is a fiftieth of what the weights are made of."""
    direction_5 = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    generator = torch.Generator().manual_seed(5)
    detail_5V = 3 * direction_5[:, None] * torch.randn(SPACE.n_voxels, generator=generator)
    noise_5V = white(3)
    weight_V = torch.full((SPACE.n_voxels,), 0.35)
    taken_5V, part_V = take_fine_band(detail_5V + noise_5V, weight_V, PLAN, SPACE)
    lost = (noise_5V * taken_5V).sum(0).mean() / noise_5V.square().sum(0).mean()
    assert float(lost) == pytest.approx(float(part_V.mean()), abs=0.05)


def test_a_band_of_nothing_loses_nothing():
    nothing_5V = torch.zeros(5, SPACE.n_voxels)
    taken_5V, part_V = take_fine_band(nothing_5V, torch.zeros(SPACE.n_voxels), PLAN, SPACE)
    assert not taken_5V.any() and not part_V.any()
    some_V = torch.full((SPACE.n_voxels,), 0.5)
    taken_5V, part_V = take_fine_band(nothing_5V, some_V, PLAN, SPACE)
    assert not taken_5V.any() and bool(torch.isfinite(part_V).all())
    # beside it a band of one direction, which has no inverse of its own
    one_5V = torch.zeros(5, SPACE.n_voxels)
    one_5V[2] = 1000.0
    taken_5V, part_V = take_fine_band(one_5V, torch.full_like(some_V, RIDGE), PLAN, SPACE)
    assert bool(torch.isfinite(taken_5V).all()) and bool((part_V <= 1).all())
