"""The floor of the noise: magnitudes by theory, there and back, and scans that have none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.filter import filter_shell
from dmri7t.signal.floor import FAR, RAYLEIGH, add_floor, floor_of, remove_floor
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import fit, n_coefficients, plan_fit, synthesize
from dmri7t.signal.shell import Brain, Shell, ShellSignal

DIRECTIONS = fibonacci_directions(60)
PLAN = plan_fit(DIRECTIONS, order=4, laplace_beltrami=0.0)
SIGMA = 20.0


def bundle(top: float) -> torch.Tensor:
    """Signals (60, 1) of one bundle whose largest is so many."""
    along_N = DIRECTIONS @ np.array([0.6, 0.0, 0.8])
    return torch.from_numpy(top * np.exp(-1.2 * along_N**2)).float()[:, None]


def magnitudes(signal_NV: torch.Tensor, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(2, *signal_NV.shape, generator=torch.Generator().manual_seed(seed))
    return torch.hypot(signal_NV + SIGMA * noise[0], SIGMA * noise[1])


@pytest.mark.parametrize("height", [0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_the_mean_magnitude_is_what_a_scanner_measures(height):
    """An even signal, measured two hundred thousand times."""
    signal_NV = torch.full((1, 200_000), height * SIGMA)
    measured = float(magnitudes(signal_NV).mean())
    root = np.sqrt(4 * np.pi)
    even_CV = torch.zeros(15, 1)
    even_CV[0] = height * SIGMA * root
    made_CV = add_floor(even_CV, torch.tensor([SIGMA]))
    assert float(made_CV[0]) / root == pytest.approx(measured, rel=0.005)
    assert float(made_CV[1:].abs().max()) < 1e-3 * SIGMA


@pytest.mark.parametrize("top", [3.5, 5.0, 8.0, 20.0])
def test_the_signal_comes_back_from_its_mean_magnitude(top):
    """Where means are known to two fifths of sigma, to a fifth of it."""
    truth_CV = fit(bundle(top * SIGMA), PLAN)
    mean_CV = add_floor(truth_CV, torch.tensor([SIGMA]))
    back_NV = synthesize(remove_floor(mean_CV, torch.tensor([SIGMA])), DIRECTIONS)
    off_NV = (back_NV - synthesize(truth_CV, DIRECTIONS)).abs() / SIGMA
    before_NV = synthesize(mean_CV - truth_CV, DIRECTIONS).abs() / SIGMA
    assert float(off_NV.max()) < 0.2
    assert float(off_NV.mean()) <= float(before_NV.mean())


def test_where_there_is_no_signal_hardly_any_is_left():
    nothing_CV = torch.zeros(6, 3)
    nothing_CV[0] = RAYLEIGH * SIGMA * np.sqrt(4 * np.pi)
    left_CV = remove_floor(nothing_CV, torch.full((3,), SIGMA))
    assert 0 <= float(left_CV[0].max()) < 0.6 * float(nothing_CV[0, 0])


@pytest.mark.parametrize("change", [add_floor, remove_floor])
def test_strong_signals_and_no_noise_stay_as_they_are(change):
    truth_CV = fit(bundle(3.5 * FAR * SIGMA), PLAN)
    assert torch.equal(change(truth_CV, torch.tensor([SIGMA])), truth_CV)
    assert torch.equal(change(truth_CV, torch.tensor([0.0])), truth_CV)


def test_orders_above_four_stay_and_all_numbers_of_coefficients_do():
    for order in (0, 2, 4, 6, 8):
        sh_CV = torch.full((n_coefficients(order), 2), 3.0 * SIGMA)
        changed_CV = remove_floor(sh_CV, torch.full((2,), SIGMA))
        assert torch.equal(changed_CV[15:], sh_CV[15:])
        assert not torch.equal(changed_CV[:1], sh_CV[:1])


SHAPE = (22, 22, 22)


def scan(magnitude: bool = True, darkest: float = 0.0) -> ShellSignal:
    """A head of bundles, in its middle a ventricle without signal at this b-value."""
    brain = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    dark_V = torch.from_numpy((((np.indices(SHAPE) - 10.5) ** 2).sum(0) < 16).ravel())
    signal_NV = bundle(8 * SIGMA).expand(-1, brain.n_voxels).clone()
    signal_NV[:, dark_V] = darkest * SIGMA
    if magnitude:
        seen_NV = magnitudes(signal_NV)
    else:
        noise = torch.randn(signal_NV.shape, generator=torch.Generator().manual_seed(0))
        seen_NV = signal_NV + SIGMA * noise
    b0_V = torch.full((brain.n_voxels,), 20 * SIGMA)
    return ShellSignal(seen_NV, b0_V, DIRECTIONS, 2000.0, 4, brain)


def floor(measured: ShellSignal, sigma: float) -> float:
    """The floor of a filtered scan."""
    filtered = filter_shell(measured, Shell.from_signal(measured, order=4))
    mean_V = filtered.sh_CV[0] / np.sqrt(4 * np.pi) * filtered.b0_V
    return floor_of(mean_V, measured.brain.mask, sigma)


def test_the_darkest_places_tell_how_high_the_floor_is():
    assert floor(scan(), SIGMA) == pytest.approx(SIGMA, rel=0.15)
    # residuals that hold more than the noise do not raise it
    assert floor(scan(), 3 * SIGMA) == pytest.approx(SIGMA, rel=0.15)
    # nor does a brain without dark places lower it
    assert floor(scan(darkest=6.0), SIGMA) == SIGMA


def test_a_scan_that_is_not_of_magnitudes_has_no_floor():
    assert floor(scan(magnitude=False), SIGMA) < 0.25 * SIGMA


def test_a_filtered_scan_comes_nearer_to_its_signal():
    measured = scan()
    filtered = filter_shell(measured, Shell.from_signal(measured, order=4))
    made_CV = filtered.sh_CV * filtered.b0_V
    floor_V = torch.full_like(filtered.b0_V, floor(measured, SIGMA))
    truth_C1 = fit(bundle(8 * SIGMA), PLAN)
    bright_V = measured.signal_NV.mean(0) > 3 * SIGMA
    errors = [
        float((sh_CV[:, bright_V].mean(1) - truth_C1[:, 0]).norm())
        for sh_CV in (made_CV, remove_floor(made_CV, floor_V))
    ]
    assert errors[1] < 0.4 * errors[0]
