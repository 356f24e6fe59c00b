"""Noise of shells with few directions: what is measured is what was put in, at any anisotropy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.grids import Grid
from dmri7t.signal.noise import few_directions_noise, neighbour_noise
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.simulation.scanner import add_noise, band_limit

SHAPE = (30, 30, 24)
BRAIN = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))


def turning_fibres(fa: float, directions: np.ndarray, bval: float, n_b0: int) -> torch.Tensor:
    """Volumes of fibres of one anisotropy that turn through the image; b0s of 1000 first."""
    x, y, z = np.meshgrid(*[np.linspace(0, 1, n) for n in SHAPE], indexing="ij")
    turn, tilt = 2 * x + 1.5 * y, 1.2 * z
    fibre = np.stack([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)], -1)
    # along and across, of mean 0.8 um2/ms and of this anisotropy
    spread = 0.8e-3 * fa / np.sqrt(3 - 2 * fa**2)
    along = (fibre @ directions.T) ** 2
    exponent = -bval * ((0.8e-3 - spread) + 3 * spread * along)
    b0s = np.full((n_b0, *SHAPE), 1000.0)
    return torch.from_numpy(
        np.concatenate([b0s, np.moveaxis(1000 * np.exp(exponent), -1, 0)])
    ).float()


def noisy_shell(
    fa: float, directions: np.ndarray, snr: float, bval: float = 1000.0, n_b0: int = 1
) -> Shell:
    """A shell as the chain makes it of noisy volumes."""
    clean = turning_fibres(fa, directions, bval, n_b0)
    volumes = add_noise(clean, 1000 / snr, torch.Generator().manual_seed(3)).flatten(1)
    b0s = volumes[:n_b0]
    return Shell.from_signal(
        ShellSignal(volumes[n_b0:], b0s.mean(0), directions, bval, n_b0, BRAIN, b0s)
    )


@pytest.mark.parametrize("snr", [20, 50, 100])
@pytest.mark.parametrize("fa", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("n", [6, 7, 9, 12, 15, 16, 18, 22])
def test_noise_is_told_whatever_the_anisotropy(n, fa, snr):
    # of six directions only neighbours tell
    tolerance = 0.15 if n == 6 else 0.08
    shell = noisy_shell(fa, fibonacci_directions(n), snr)
    assert 1 / shell.description.sigma == pytest.approx(snr, rel=tolerance)


@pytest.mark.parametrize("n_b0", [2, 5])
def test_repeated_b0s_tell_the_noise_of_six_directions(n_b0):
    shell = noisy_shell(0.7, fibonacci_directions(6), 100, n_b0=n_b0)
    assert 1 / shell.description.sigma == pytest.approx(100, rel=0.03)


def test_averages_of_six_directions_tell_the_noise_by_themselves():
    shell = noisy_shell(0.7, np.tile(fibonacci_directions(6), (4, 1)), 100)
    assert 1 / shell.description.sigma == pytest.approx(100, rel=0.03)


def test_many_directions_are_told_by_residuals_as_ever():
    """From 23 directions on nothing has changed: residuals of the fit in use."""
    from dmri7t.signal.harmonics import plan_fit
    from dmri7t.signal.represent import residual_sigma

    directions = fibonacci_directions(30)
    clean = turning_fibres(0.5, directions, 1000.0, 1)
    volumes = add_noise(clean, 20.0, torch.Generator().manual_seed(3)).flatten(1)
    signal = ShellSignal(volumes[1:], volumes[0], directions, 1000.0, 1, BRAIN)
    sigma = signal.noise(plan_fit(directions))
    assert sigma == residual_sigma(signal.signal_NV, signal.b0_V, plan_fit(directions))
    assert sigma == pytest.approx(20, rel=0.03)


def test_neighbours_tell_noise_that_was_interpolated_within_slices():
    """Zero filling to twice the matrix leaves hardly any noise between neighbours in a slice."""
    noise = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))
    half = band_limit(30, 0.5)
    smooth = torch.einsum("ax,by,nxyz->nabz", half, half, noise)
    smooth = 5 * smooth / smooth.std()
    assert neighbour_noise(1000 + smooth.flatten(1), BRAIN.mask) == pytest.approx(5, rel=0.1)


def test_where_nothing_tells_that_is_said():
    mask = np.zeros((9, 9, 9), bool)
    mask[::2, ::2, ::2] = True
    signal = torch.rand(6, int(mask.sum())) + 1
    assert np.isnan(few_directions_noise(signal, fibonacci_directions(6), mask))
    thin = attrs.evolve(BRAIN, mask=np.ones((4, 4, 4), bool), grid=Grid((4, 4, 4), np.eye(4)))
    shell = ShellSignal(
        torch.rand(6, 64) + 1, torch.full((64,), 3.0), fibonacci_directions(6), 1000.0, 1, thin
    )
    assert np.isfinite(Shell.from_signal(shell).description.sigma)
