"""Harmonics and RISH against what must hold for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import (
    coefficient_orders,
    fit,
    n_coefficients,
    order_for,
    plan_fit,
    synthesize,
)
from dmri7t.signal.represent import residual_sigma
from dmri7t.signal.rish import debias, harmonize, noise_share, rish, scale_factors
from dmri7t.signal.shell import Brain, Shell, ShellSignal

BVAL = 1000.0


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def tensor_signal(directions: np.ndarray, tensor: np.ndarray) -> torch.Tensor:
    """Signal over b0 (N, 1) of one tensor (3, 3) in mm2/s."""
    exponent = np.einsum("ni,ij,nj->n", directions, tensor, directions)
    return torch.tensor(np.exp(-BVAL * exponent))[:, None]


TENSOR = np.diag([1.7e-3, 0.5e-3, 0.2e-3])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("order", [4, 6, 8])
def test_rish_does_not_change_when_gradients_and_tensors_turn(seed, order):
    directions, turn = fibonacci_directions(90), rotation(seed)
    still = rish(fit(tensor_signal(directions, TENSOR), plan_fit(directions, order)))
    turned_table = directions @ turn.T
    turned = tensor_signal(turned_table, turn @ TENSOR @ turn.T)
    moved = rish(fit(turned, plan_fit(turned_table, order)))
    torch.testing.assert_close(moved, still, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_rish_hardly_depends_on_the_table_when_only_the_head_turns(seed):
    directions, turn = fibonacci_directions(90), rotation(seed)
    plan = plan_fit(directions, 8)
    still = rish(fit(tensor_signal(directions, TENSOR), plan))
    moved = rish(fit(tensor_signal(directions, turn @ TENSOR @ turn.T), plan))
    torch.testing.assert_close(moved[:3], still[:3], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("n", [30, 60, 90])
def test_scale_one_returns_the_fitted_signal(n):
    directions = fibonacci_directions(n)
    plan = plan_fit(directions)
    signal = torch.rand(n, 50, dtype=torch.float64)
    sh = fit(signal, plan)
    same = harmonize(sh, torch.ones(3, 50, dtype=torch.float64))
    torch.testing.assert_close(synthesize(same, directions), synthesize(sh, directions))
    # what the fit can hold comes back as it was
    exact = synthesize(sh, directions)
    torch.testing.assert_close(synthesize(fit(exact, plan), directions), exact)


def test_harmonized_coefficients_have_the_generated_rish_and_higher_orders_pass():
    sh = torch.randn(n_coefficients(8), 40, dtype=torch.float64)
    wanted = rish(sh)[:3] * torch.empty(3, 40, dtype=torch.float64).uniform_(0.2, 4)
    factor, bounded = scale_factors(rish(sh)[:3], wanted)
    scaled = harmonize(sh, factor)
    torch.testing.assert_close(rish(scaled)[:3], wanted)
    assert torch.equal(scaled[15:], sh[15:]) and not bounded.any()


def test_ratio_is_bounded_and_the_fraction_told():
    before = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    after = torch.tensor([[1.0, 100.0, 1.0, 1e-9]])
    factor, bounded = scale_factors(before, after, 0.25, 4.0)
    assert factor.tolist() == [[1.0, 4.0, 4.0, 0.25]]
    assert bounded.tolist() == [0.75]


@pytest.mark.parametrize("n", [16, 20, 30, 90])
def test_gain_is_corrected_whatever_the_table(n):
    """White coefficients of one order come back with their energy, on average over rotations."""
    rng = np.random.default_rng(0)
    directions = fibonacci_directions(n)
    plan = plan_fit(directions, 4)
    for place, wanted in ((2, "order 2"), (4, "order 4")):
        sh = np.where((coefficient_orders(4) == place)[:, None], rng.normal(size=(15, 4000)), 0)
        signal = synthesize(torch.tensor(sh), directions)
        got = (fit(signal, plan) * torch.tensor(sh)).sum(0).mean() / (sh**2).sum(0).mean()
        assert float(got) == pytest.approx(1, abs=0.03), wanted


def test_sixteen_directions_are_regularised_and_ninety_are_not():
    assert plan_fit(fibonacci_directions(16)).laplace_beltrami > 0
    assert plan_fit(fibonacci_directions(90)).laplace_beltrami == 0
    assert [order_for(n) for n in (6, 14, 15, 41, 42, 67, 68, 200)] == [2, 2, 4, 4, 6, 6, 8, 8]


@pytest.mark.parametrize("n", [16, 30, 90])
def test_noise_share_is_what_noise_adds(n):
    directions = fibonacci_directions(n)
    plan = plan_fit(directions)
    sigma = 0.05
    clean = tensor_signal(directions, TENSOR).expand(-1, 20000)
    generator = torch.Generator().manual_seed(0)
    noise = sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    # noise and its negative: what is linear in it cancels, and 20,000 voxels are enough
    both = [rish(fit(clean + sign * noise, plan)) for sign in (1, -1)]
    added = (sum(both) / 2 - rish(fit(clean, plan))).mean(1)
    share = noise_share(plan, torch.full((1,), sigma, dtype=torch.float64))[:, 0]
    torch.testing.assert_close(added, share, rtol=0.06, atol=2e-5)


def test_debias_never_goes_below_zero():
    assert debias(torch.tensor([[1.0, 0.1]]), torch.tensor([[0.4, 0.4]])).tolist() == [
        [pytest.approx(0.6), 0.0]
    ]


@pytest.mark.parametrize(("n", "tolerance"), [(16, 0.15), (30, 0.05), (64, 0.05)])
def test_sigma_is_read_from_the_residuals(n, tolerance):
    """With 16 directions the penalised fit leaves signal in the residuals: 12 % too much here."""
    directions = fibonacci_directions(n)
    generator = torch.Generator().manual_seed(1)
    b0 = torch.full((30000,), 800.0, dtype=torch.float64)
    clean = 800 * tensor_signal(directions, np.diag([1.2e-3, 0.8e-3, 0.7e-3]))
    noise = 25 * torch.randn(n, 30000, generator=generator, dtype=torch.float64)
    plan = plan_fit(directions)
    assert residual_sigma(clean + noise, b0, plan) == pytest.approx(25, rel=tolerance)


def test_representation_without_order_four_says_so():
    directions = fibonacci_directions(12)
    brain = Brain(np.ones((5, 10, 10), bool), Grid((5, 10, 10), np.eye(4)))
    signal, b0 = torch.rand(12, 500) + 1, torch.full((500,), 3.0)
    shell = Shell.from_signal(ShellSignal(signal, b0, directions, 1000.0, 1, brain))
    assert shell.plan.order == 2 and shell.rish_3V.shape == (3, 500) and shell.n_orders == 2
    assert not shell.rish_3V[2].any() and not shell.noise_3V[2].any()


def test_averages_do_not_count_as_directions():
    directions = fibonacci_directions(12)
    averaged = plan_fit(np.concatenate([directions, -directions, directions, directions]))
    once = plan_fit(directions)
    assert (averaged.order, averaged.n_directions) == (once.order, 48)
    np.testing.assert_allclose(averaged.noise_L * 4, once.noise_L, rtol=0.2)
