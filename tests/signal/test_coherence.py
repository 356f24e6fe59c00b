"""What neighbours add: analytic cases, white noise, rotation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.coherence import coherent_rish, residual_correlation, smooth
from dmri7t.signal.describe import Description, direction_spread
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import plan_fit
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal

MASK = np.ones((9, 10, 11), bool)
BRAIN = Brain(MASK, Grid(MASK.shape, np.diag([2.0, 2.0, 3.0, 1.0])))


def test_smoothing_keeps_the_sum_within():
    volume = torch.zeros(9, 9, 9)
    volume[4, 4, 4] = 1.0
    assert float(smooth(volume, 3).sum()) == pytest.approx(1.0)
    assert float(smooth(volume)[4, 4, 4]) == pytest.approx(0.125)


def test_a_uniform_image_is_its_own_neighbourhood():
    """Also at the border of the mask, where neighbours are missing."""
    ball = (np.indices(MASK.shape) - 5) ** 2
    mask = ball.sum(0) < 16
    sh = torch.arange(1.0, 16.0)[:, None].expand(-1, int(mask.sum()))
    wanted = rish(sh)
    made = coherent_rish(sh, mask).unflatten(0, (3, 3))
    for kind in made:
        torch.testing.assert_close(kind, wanted, rtol=1e-4, atol=1e-3)


def test_products_with_neighbours_are_free_of_white_noise():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(15, MASK.sum()))).float()
    own, product = rish(noise), coherent_rish(noise, MASK)[:3]
    assert (product.mean(1).abs() < 0.02 * own.mean(1)).all()


def test_orders_that_were_not_fitted_are_zero():
    sh = torch.rand(6, int(MASK.sum()))
    made = coherent_rish(sh, MASK).unflatten(0, (3, 3))
    assert not made[:, 2].any() and made[:, 1].any()


def test_turning_the_gradients_changes_nothing():
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    directions = fibonacci_directions(60)
    axes = rng.normal(size=(3, int(MASK.sum())))
    # the same object, seen along turned directions whose table is turned as well
    made = []
    for table, object_axes in ((directions, axes), (directions @ q, q.T @ axes)):
        signal = torch.from_numpy(np.exp(-(((table @ object_axes) / 2) ** 2)))
        measured = ShellSignal(signal, torch.ones(MASK.size), table, 1000.0, 1, BRAIN)
        made.append(Shell.from_signal(measured, order=4).coherent_9V)
    one, turned = made
    torch.testing.assert_close(one, turned, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_correlation_of_residuals_is_that_of_the_noise(kept):
    from dmri7t.simulation.scanner import add_noise

    mask = np.ones((24, 24, 24), bool)
    flat = torch.full((30, 24, 24, 24), 100.0)
    generator = torch.Generator().manual_seed(0)
    noisy = add_noise(flat, 2.0, generator, kept=(1.0, kept, 1.0)).flatten(1)
    plan = plan_fit(fibonacci_directions(30))
    x, y, z = residual_correlation(noisy, mask, plan)
    assert (x, z) == pytest.approx((0.0, 0.0), abs=0.03)
    # 13 of 24 frequencies pass: the mean of their cosines is the autocorrelation at one voxel
    band = np.cos(2 * np.pi * np.arange(-6, 7) / 24).mean()
    assert y == pytest.approx(0.0 if kept == 1 else band, abs=0.04)


def test_no_residual_no_correlation():
    """Six directions leave nothing over."""
    plan = plan_fit(fibonacci_directions(6), 2, 0.0)
    signal = torch.rand(6, int(MASK.sum())) + 1
    assert residual_correlation(signal, MASK, plan) == (0.0, 0.0, 0.0)


def test_even_directions_have_the_least_noise():
    even = direction_spread(plan_fit(fibonacci_directions(60), 4, 0.0))
    squeezed = fibonacci_directions(60) * [1, 1, 0.4]
    squeezed /= np.linalg.norm(squeezed, axis=1, keepdims=True)
    assert even == pytest.approx(1.0, abs=0.02)
    assert direction_spread(plan_fit(squeezed, 4, 0.0)) > 1.3


def test_a_description_goes_through_a_file_and_knows_the_scan():
    rng = np.random.default_rng(0)
    directions = fibonacci_directions(30)
    signal = torch.from_numpy(100 + 5 * rng.normal(size=(30, MASK.sum()))).float()
    b0 = torch.full((MASK.size,), 200.0)
    description = Shell.from_signal(
        ShellSignal(signal, b0, directions, 1000.0, 1, BRAIN)
    ).description
    assert description.voxel_sizes == (2.0, 2.0, 3.0)
    assert description.sigma == pytest.approx(5 / 200, rel=0.1)
    assert (description.bval, description.n_directions) == (1000.0, 30)
    assert Description.from_dict({**description.as_dict(), "other": 1}) == description
