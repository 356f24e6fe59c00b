"""The simulator against what physics says."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from dmri7t.signal.harmonics import basis_matrix, coefficient_orders
from dmri7t.simulation.acquisition import draw_protocol, hcp_protocol, spread_directions
from dmri7t.simulation.anatomy import Brain
from dmri7t.simulation.microstructure import Fibre, zeppelin_kernel
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.scanner import PointSpread, add_noise, move, true_directions


def test_kernel_of_a_zeppelin_is_its_signal():
    """Harmonics of a fibre along u, evaluated at g, give exp(-b D(u, g))."""
    b, parallel, perpendicular, order = 1000.0, 1.7e-3, 0.4e-3, 12
    u = np.array([[0.36, 0.48, 0.8]])
    g = spread_directions(30)
    kernel = zeppelin_kernel(b, parallel, perpendicular, order)
    per_coefficient = kernel[coefficient_orders(order) // 2]
    signal = basis_matrix(g, order) @ (per_coefficient * basis_matrix(u, order)[0])
    cosine = g @ u[0]
    wanted = np.exp(-b * (perpendicular + (parallel - perpendicular) * cosine**2))
    np.testing.assert_allclose(signal, wanted, atol=2e-5)


def test_dispersion_lowers_high_orders_only():
    sharp = Fibre(0.5, 2e-3, 1.7e-3, 0.5e-3, 0.0).kernel(1000, 4)
    spread = Fibre(0.5, 2e-3, 1.7e-3, 0.5e-3, 0.1).kernel(1000, 4)
    assert spread[0] == sharp[0]
    assert abs(spread[2] / sharp[2]) < abs(spread[1] / sharp[1]) < 1


@pytest.mark.parametrize("apodisation", [0.0, 1.0])
def test_point_spread_keeps_a_constant_and_has_its_width(apodisation):
    fine = np.arange(-20, 20.01, 0.05)
    voxels = np.arange(-10.0, 10.1, 1.0)
    matrix = PointSpread(1.3, apodisation).matrix(fine, voxels, 1.0)
    np.testing.assert_allclose(matrix.sum(1), 1)
    profile = matrix[10] / matrix[10].max()
    assert np.ptp(fine[profile > 0.5]) == pytest.approx(1.3, abs=0.12)


def test_tissues_fill_space_and_blocks_of_one_brain_agree():
    brain = Brain.draw(np.random.default_rng(0))
    axes = tuple(np.arange(-12, 12) * 0.75 + shift for shift in (20, 10, 15))
    tissue = brain.at(axes)
    total = tissue.csf + tissue.gm + tissue.wm
    assert total.min() > 0.97 and total.max() < 1.001
    part = brain.at(tuple(a[4:20] for a in axes))
    inner = (slice(2, -2),) * 3
    torch.testing.assert_close(
        part.csf[inner], tissue.csf[4:20, 4:20, 4:20][inner], atol=2e-3, rtol=0
    )
    lengths = tissue.directions.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-3, rtol=0)


def test_rician_noise_has_its_floor():
    volumes = torch.zeros(4, 20, 20, 20)
    noisy = add_noise(volumes, 2.0, torch.Generator().manual_seed(0))
    assert float(noisy.mean()) == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.02)


def test_seven_tesla_darkens_white_matter_less_than_csf_would_say():
    """T2 of tissue is shorter at 7T: at the same echo time its b0 is weaker against CSF."""
    rng = np.random.default_rng(0)
    protocol = hcp_protocol(rng)
    high = attrs.evolve(protocol.high, echo_time=protocol.low.echo_time)
    low_w, high_w = protocol.low.weights(), high.weights()
    assert high_w["wm"] / high_w["csf"] < low_w["wm"] / low_w["csf"]


def test_same_seed_same_patch():
    first, again = (draw_patches(5, size=12, n_scans=2) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.rish, b.rish) and torch.equal(a.target_high, b.target_high)
    assert not torch.equal(first[0].rish, first[1].rish)


def test_noise_share_explains_the_bias_of_a_noisy_scan():
    """Debiased RISH of a noisy scan agrees on average with that of a clean one."""
    rng = np.random.default_rng(3)
    protocol = attrs.evolve(
        draw_protocol(rng),
        voxel_sizes=np.full(3, 1.5),
        bval=1000.0,
        directions=spread_directions(40),
        n_b0=9,
    )
    flaws = {"drift": 0.0, "dropout": 0.0, "coils": 1, "motion": 0.0, "direction_error": 0.0}
    ideal = attrs.evolve(protocol.low, kept=(1.0, 1.0, 1.0), **flaws)
    quiet, loud = (
        draw_patches(
            11,
            20,
            attrs.evolve(protocol, low=attrs.evolve(ideal, snr=snr)),
        )[0]
        for snr in (2000.0, 15.0)
    )
    mask = loud.mask
    raw = (loud.rish - quiet.rish)[2][mask].mean()
    left = (loud.rish - loud.noise - quiet.rish)[2][mask].mean()
    assert abs(left) < 0.2 * abs(raw)


def band_correlation(n: int, kept: float) -> float:
    """Wiener-Khinchin: the autocorrelation at one voxel of what a band of frequencies leaves."""
    passed = np.abs(np.fft.fftfreq(n)) <= kept / 2
    return float(np.cos(2 * np.pi * np.fft.fftfreq(n))[passed].mean())


def test_zero_filling_correlates_noise_and_keeps_its_power():
    flat = torch.full((4, 24, 24, 24), 100.0)
    generator = torch.Generator().manual_seed(0)
    noise = add_noise(flat, 1.0, generator, kept=(1.0, 0.5, 0.75)) - 100
    assert float(noise.std()) == pytest.approx(1.0, rel=0.03)
    lags = [float((noise * noise.roll(1, axis)).mean()) for axis in (1, 2, 3)]
    assert lags == pytest.approx([0.0, *(band_correlation(24, f) for f in (0.5, 0.75))], abs=0.03)


def test_more_coils_raise_the_floor():
    """Magnitude of pure noise: sigma sqrt(2) Gamma(n + 1 / 2) / Gamma(n)."""
    air = torch.zeros(2, 20, 20, 20)
    for coils, floor in ((1, 1.2533), (2, 1.8800), (4, 2.7416)):
        noisy = add_noise(air, 1.0, torch.Generator().manual_seed(1), coils=coils)
        assert float(noisy.mean()) == pytest.approx(floor, rel=0.01)


def test_motion_moves_volumes_and_keeps_their_sum():
    volumes = torch.zeros(3, 9, 9, 9)
    volumes[:, 4, 4, 4] = 1.0
    moved = move(volumes, 0.3, torch.Generator().manual_seed(0))
    assert moved.sum((1, 2, 3)).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert float((moved - volumes).abs().max()) > 0.05
    assert torch.equal(move(volumes, 0.0, torch.Generator()), volumes)


def test_gradients_are_off_by_what_is_said():
    stated = spread_directions(64)
    true = true_directions(stated, 2.0, np.random.default_rng(9))
    angle = np.rad2deg(np.arccos(np.clip((true * stated).sum(1), -1, 1)))
    # two components of two degrees each: their length is 2 sqrt(pi / 2) on average
    assert angle.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.2)
