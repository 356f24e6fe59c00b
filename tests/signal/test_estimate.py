"""What is taken for coefficients and RISH, mixed by known shares."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.estimate import ShellEstimate, mixed_rish
from dmri7t.signal.filter import filter_shell
from dmri7t.signal.grids import Grid
from dmri7t.signal.held_out import Evidence
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal

SHAPE = (8, 8, 8)


@pytest.fixture(scope="module")
def measured() -> ShellSignal:
    directions_N3 = fibonacci_directions(32)
    generator = torch.Generator().manual_seed(0)
    clean_NV = torch.from_numpy(np.exp(-0.3 - 1.2 * directions_N3[:, :1] ** 2)).float() * 100
    noise_NV = 8 * torch.randn(32, 512, generator=generator)
    brain = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    return ShellSignal(
        clean_NV + noise_NV, torch.full((512,), 100.0), directions_N3, 1000, 1, brain
    )


@pytest.fixture(scope="module")
def shell(measured) -> Shell:
    return Shell.from_signal(measured)


def mixed(measured, shell, filter_L, model_L, energy=0.0) -> ShellEstimate:
    evidence = Evidence((filter_L, model_L))
    return ShellEstimate.mixed(
        shell, measured.b0_V, filter_shell(measured, shell), energy, evidence
    )


def test_no_share_is_the_scan_as_it_is(measured, shell):
    estimate = mixed(measured, shell, (0, 0, 0), (0, 0, 0))
    torch.testing.assert_close(estimate.sh_CV, shell.sh_CV)
    torch.testing.assert_close(estimate.rish_3V, shell.debiased_3V)
    fine_CV = estimate.sh_CV
    scaled_CV, bounded = estimate.scaled(fine_CV, 5 * estimate.rish_3V)
    assert scaled_CV is fine_CV and bounded == [0.0, 0.0, 0.0]


def test_shares_mix_order_by_order_and_higher_orders_take_the_last(measured, shell):
    full = filter_shell(measured, shell).sh_CV
    estimate = mixed(measured, shell, (0.0, 1.0, 0.5), (0, 0, 0))
    torch.testing.assert_close(estimate.sh_CV[:1], shell.sh_CV[:1])
    torch.testing.assert_close(estimate.sh_CV[1:6], full[1:6])
    half = 0.5 * (shell.sh_CV + full)
    torch.testing.assert_close(estimate.sh_CV[6:], half[6:])


def test_what_is_mixed_is_over_the_same_b0(measured, shell):
    """In scanner units an order of which nothing is filtered stays as it was measured."""
    noise_V = 8 * torch.randn(512, generator=torch.Generator().manual_seed(1))
    noisy = attrs.evolve(measured, b0_V=measured.b0_V + noise_V)
    shell = Shell.from_signal(noisy)
    estimate = mixed(noisy, shell, (0.0, 1.0, 1.0), (0, 0, 0))
    assert float((estimate.b0_V - 100).std()) < 0.5 * float(noise_V.std())
    signal_V, expected_V = estimate.sh_CV[0] * estimate.b0_V, shell.sh_CV[0] * noisy.b0_V
    torch.testing.assert_close(signal_V, expected_V)
    own_3V, expected_3V = estimate.rish_3V[0] * estimate.b0_V**2, shell.debiased_3V * noisy.b0_V**2
    torch.testing.assert_close(own_3V, expected_3V[0])
    # a scan that gains nothing by the filter is as it was, its b0 too
    torch.testing.assert_close(mixed(noisy, shell, (0, 0, 0), (0, 0, 0)).b0_V, noisy.b0_V)


def test_energy_is_the_true_one_where_it_is_asked_for(measured, shell):
    filtered = filter_shell(measured, shell)
    least_LV, whole_LV = rish(filtered.sh_CV)[:2], rish(filtered.with_energy(1.0))[:2]
    true_L = (least_LV + filtered.missing_LV[:2]).mean(1)
    torch.testing.assert_close(whole_LV.mean(1), true_L, rtol=0.05, atol=1e-6)
    # order 4 is foretold in its whole size
    torch.testing.assert_close(filtered.with_energy(1.0)[6:], filtered.sh_CV[6:])
    torch.testing.assert_close(filtered.with_energy(0.0), filtered.sh_CV)
    half_LV = rish(filtered.with_energy(0.5))[:2]
    torch.testing.assert_close(half_LV.square(), whole_LV * least_LV, rtol=1e-3, atol=1e-6)


def test_energy_is_scaled_alike_in_neighbouring_voxels(measured, shell):
    """Voxels of little energy, mostly noise, are not scaled more than those beside them."""
    filtered = filter_shell(measured, shell)
    least_V, whole_V = rish(filtered.sh_CV)[1], rish(filtered.with_energy(1.0))[1]
    torch.testing.assert_close(whole_V / least_V, filtered.gain_2V[1], rtol=1e-3, atol=1e-4)
    gain = filtered.gain_2V[1].reshape(8, 8, 8)
    assert float(gain.diff(dim=0).abs().max()) < 0.35 * float(gain.mean())


def test_model_scales_by_its_share(measured, shell):
    estimate = ShellEstimate.as_measured(shell, measured.b0_V, "asked for")
    rish7_3V = 4 * rish(shell.sh_CV)[:3]
    scaled_CV, _ = estimate.scaled(shell.sh_CV, rish7_3V)
    torch.testing.assert_close(scaled_CV[:15], 2 * shell.sh_CV[:15])
    half = attrs.evolve(estimate, model_shares=(0.0, 0.5, 0.0))
    scaled_CV, bounded = half.scaled(shell.sh_CV, rish7_3V)
    torch.testing.assert_close(scaled_CV[:1], shell.sh_CV[:1])
    torch.testing.assert_close(scaled_CV[1:6], 1.5 * shell.sh_CV[1:6])
    assert bounded == [0.0, 0.0, 0.0]


def test_rish_is_mixed_by_the_model_s_shares():
    own, model = torch.ones(3, 2), torch.full((3, 2), 3.0)
    made = mixed_rish(own, model, (0.0, 0.5, 1.0))
    assert made.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_rish_on_a_finer_grid_are_those_of_the_coefficients_there(measured, shell):
    """Half-way between voxels coefficients of opposite sign cancel: their energy is none."""
    estimate = mixed(measured, shell, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), energy=1.0)
    sh_CV = estimate.sh_CV.clone()
    sh_CV[1:6, 1::2] = -sh_CV[1:6, ::2]
    lacking_3V = torch.tensor([0.01, 0.02, 0.0])[:, None].expand(3, 512)
    estimate = attrs.evolve(estimate, sh_CV=sh_CV, rish_3V=rish(sh_CV)[:3] + lacking_3V)

    def half_way(values_TV: torch.Tensor) -> torch.Tensor:
        return (values_TV[:, ::2] + values_TV[:, 1::2]) / 2

    fine_CV, finer_3V = estimate.finer(half_way)
    torch.testing.assert_close(fine_CV, half_way(sh_CV[:6]))
    expected_0V = half_way(sh_CV[:1])[0].square() + 0.01
    torch.testing.assert_close(finer_3V[0], expected_0V)
    torch.testing.assert_close(finer_3V[1], torch.full((256,), 0.02))
    torch.testing.assert_close(finer_3V[2], half_way(rish(sh_CV)[2:3])[0])


def test_the_floor_leaves_coefficients_and_rish_alike(measured, shell):
    """Of a scan whose noise is as high as its signal; without noise nothing is taken out."""
    estimate = mixed(measured, shell, (1.0, 1.0, 1.0), (0, 0, 0))
    whole = measured.brain.mask
    assert estimate.without_floor(0.0, whole) is estimate and estimate.floor == 0
    lower = estimate.without_floor(30.0, whole)
    assert lower.floor == 30
    assert bool((lower.sh_CV[0] < estimate.sh_CV[0]).all())
    lost_3V = rish(estimate.sh_CV)[:3] - rish(lower.sh_CV)[:3]
    torch.testing.assert_close(lower.rish_3V, (estimate.rish_3V - lost_3V).clamp_min(0))
    # no more than the darkest place shows
    assert estimate.without_floor(1e4, whole).floor < 100
