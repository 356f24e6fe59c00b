"""Order 4 foretold by order 2: exact for bundles, turned with the head, no leak into order 2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.filter import filter_shell
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import basis_matrix, fit, plan_fit
from dmri7t.signal.neighbourhood import Neighbourhood
from dmri7t.signal.order4 import ORDER_2, ORDER_4, couple, foretell_order4
from dmri7t.signal.shell import Brain, ShellFit, ShellSignal

SHAPE = (12, 12, 12)
BRAIN = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
DENSE = fibonacci_directions(90)
TURN = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
TURN = TURN * np.sign(np.linalg.det(TURN))


def sticks(directions_N3: np.ndarray, b_times_d: float, turn: np.ndarray | None = None):
    """Signals (N, V) of sticks that turn slowly over the block, the object turned by a matrix."""
    x, y, z = np.indices(SHAPE).reshape(3, -1) / 12
    axis_3V = np.stack([np.cos(2 * x + y), np.sin(2 * x + y), 0.5 * np.cos(2 * z)])
    axis_3V = (np.eye(3) if turn is None else turn) @ (axis_3V / np.linalg.norm(axis_3V, axis=0))
    return torch.from_numpy(np.exp(-b_times_d * (directions_N3 @ axis_3V) ** 2)).float()


def coefficients(b_times_d: float) -> torch.Tensor:
    return fit(sticks(DENSE, b_times_d), plan_fit(DENSE, order=8))


def shell_of(directions: np.ndarray, signal_NV: torch.Tensor, noise: float = 0.0) -> ShellSignal:
    generator = torch.Generator().manual_seed(0)
    signal_NV = 500 * signal_NV + noise * torch.randn(signal_NV.shape, generator=generator)
    b0_V = torch.full((BRAIN.n_voxels,), 500.0)
    return ShellSignal(signal_NV, b0_V, directions, 1000.0, 1, BRAIN)


@pytest.mark.parametrize(("b_times_d", "beta"), [(0.5, 0.260), (1.0, 0.511), (2.0, 0.975)])
def test_bundles_show_the_same_axis_in_both_orders(b_times_d, beta):
    """Against numbers from the Gaussian signal of a stick, expanded directly."""
    sh_CV = coefficients(b_times_d)
    torch.testing.assert_close(sh_CV[ORDER_4], beta * couple(sh_CV[ORDER_2]), rtol=0.02, atol=2e-4)


def test_coupling_is_the_part_of_order_4_of_the_square():
    sh_5V = torch.randn(5, 20, generator=torch.Generator().manual_seed(1))
    basis = torch.as_tensor(basis_matrix(DENSE, 4)).float()
    square_NV = (basis[:, ORDER_2] @ sh_5V).square()
    expected = fit(square_NV, plan_fit(DENSE, order=4, laplace_beltrami=0))[ORDER_4]
    torch.testing.assert_close(couple(sh_5V), expected / sh_5V.norm(dim=0), rtol=1e-3, atol=1e-4)
    assert float(couple(torch.zeros(5, 3)).abs().max()) == 0


def test_the_factor_is_found_in_noise():
    sh_CV, space = coefficients(1.5), Neighbourhood(BRAIN)
    noisy_9V = sh_CV[ORDER_4] + 0.1 * torch.randn(9, BRAIN.n_voxels)
    variance_V = torch.full((BRAIN.n_voxels,), 0.01)
    made_9V = foretell_order4(sh_CV[ORDER_2], noisy_9V, None, variance_V, space)
    before, after = ((v - sh_CV[ORDER_4]).square().mean() for v in (noisy_9V, made_9V))
    assert float(after / before) < 0.01
    # of what is opposed nothing is taken
    none_9V = foretell_order4(sh_CV[ORDER_2], -noisy_9V, None, variance_V, space)
    assert float(none_9V.abs().max()) == 0


@pytest.mark.parametrize("count", [9, 12])
def test_of_few_directions_order_4_no_longer_leaks_into_what_is_fitted(count):
    directions = fibonacci_directions(count)
    measured = shell_of(directions, sticks(directions, 1.5))
    shell = ShellFit.of(measured)
    assert shell.plan.order == 2
    truth_CV, made = coefficients(1.5), filter_shell(measured, shell)
    before, after = ((v[:6] - truth_CV[:6]).square().sum() for v in (shell.sh_CV, made.sh_CV))
    assert float(after / before) < 0.25
    # and is there, though it was not fitted
    error = (made.sh_CV[ORDER_4] - truth_CV[ORDER_4]).square().sum()
    assert len(made.sh_CV) == 15
    assert float(error / truth_CV[ORDER_4].square().sum()) < 0.25


@pytest.mark.parametrize("count", [12, 40])
def test_turning_head_and_gradients_turns_the_filtered_signal(count):
    directions = fibonacci_directions(count)
    made = []
    for turn in (np.eye(3), TURN):
        turned = directions @ turn.T
        measured = shell_of(turned, sticks(turned, 1.5, turn), noise=20.0)
        filtered = filter_shell(measured, ShellFit.of(measured, None, 0.0))
        basis = torch.as_tensor(basis_matrix(turned, 4)).float()
        made.append(basis @ filtered.sh_CV[:15])
    torch.testing.assert_close(made[1], made[0], rtol=1e-3, atol=1e-3)


def test_noise_of_many_directions_falls_further_than_by_neighbours_alone():
    directions = fibonacci_directions(40)
    measured = shell_of(directions, sticks(directions, 1.0), noise=40.0)
    shell = ShellFit.of(measured, 4)
    made, truth_CV = filter_shell(measured, shell), coefficients(1.0)
    before, after = ((v - truth_CV[:15])[ORDER_4] for v in (shell.sh_CV, made.sh_CV))
    assert float(after.square().sum() / before.square().sum()) < 0.05
