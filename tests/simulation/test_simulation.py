"""The simulator against what physics says."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from dmri7t.signal.harmonics import basis_matrix, coefficient_orders
from dmri7t.simulation.acquisition import (
    draw_kept,
    draw_protocol,
    draw_spread,
    hcp_protocol,
    spread_directions,
    without_flaws,
)
from dmri7t.simulation.anatomy import Phantom
from dmri7t.simulation.microstructure import Fibre, zeppelin_kernel
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.scanner import (
    PointSpread,
    add_noise,
    draw_shifts,
    move,
    shift_matrix,
    true_directions,
)


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


def width_of(spread: PointSpread, size: float) -> float:
    """Full width at half maximum in mm."""
    fine = np.arange(-20, 20.01, 0.02)
    profile = spread.matrix(fine, np.zeros(1), size)[0]
    return float(np.ptp(fine[profile > 0.5 * profile.max()]))


def test_blur_is_in_mm_and_adds_in_quadrature():
    for size in (1.0, 2.0):
        width = width_of(PointSpread(0.8, 0.0, blur=0.9), size)
        assert width == pytest.approx(np.hypot(0.8 * size, 0.9), abs=0.05)


def test_sampling_less_of_k_space_blurs_within_slices_only():
    spreads = draw_spread(np.random.default_rng(4), slices=2, kept=(0.6, 0.8, 1.0))
    widths = [width_of(attrs.evolve(spread, blur=0.0), 1.0) for spread in spreads]
    # the window narrows the sinc by some percent
    assert widths[:2] == pytest.approx([1.207 / 0.6, 1.207 / 0.8], rel=0.08)
    assert widths[0] / widths[1] == pytest.approx(0.8 / 0.6, rel=0.02)
    assert 0.66 < widths[2] < 0.97
    drawn = np.array([draw_kept(np.random.default_rng(i), slices=2) for i in range(200)])
    assert (drawn == 1).all(1).mean() == pytest.approx(0.5, abs=0.1)
    # resampling reaches across the slices too
    assert (drawn[:, 2] < 1).mean() == pytest.approx(0.15, abs=0.08)
    assert drawn.min() > 0.45 and drawn.max() <= 1


def test_training_asks_for_finer_voxels_of_the_scan_itself():
    protocol = draw_protocol(np.random.default_rng(0))
    target = protocol.high
    assert target.weights() == protocol.low.weights()
    assert target.point_spread == protocol.low.point_spread
    assert target == without_flaws(target)
    # HCP's is another scanner, of the same person
    hcp = hcp_protocol(np.random.default_rng(0))
    assert hcp.high.tesla == 7 and hcp.high.weights() != hcp.low.weights()
    assert hcp.high.relaxation_spread == hcp.low.relaxation_spread


def test_tissues_fill_space_and_blocks_of_one_brain_agree():
    brain = Phantom.draw(np.random.default_rng(0))
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
        assert torch.equal(a.shell.rish_3V, b.shell.rish_3V) and torch.equal(
            a.target_high, b.target_high
        )
    assert not torch.equal(first[0].shell.rish_3V, first[1].shell.rish_3V)


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
    ideal = without_flaws(protocol.low)
    quiet, loud = (
        draw_patches(
            11,
            20,
            attrs.evolve(protocol, low=attrs.evolve(ideal, snr=snr)),
        )[0]
        for snr in (2000.0, 15.0)
    )
    loud, quiet = loud.shell, quiet.shell
    raw = (loud.rish_3V - quiet.rish_3V)[2].mean()
    left = (loud.rish_3V - loud.noise_3V - quiet.rish_3V)[2].mean()
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


@pytest.mark.parametrize("shift", [-1.3, -0.4, 0.0, 0.15, 0.5])
def test_a_shift_moves_a_wave_and_does_not_blur_it(shift):
    x = np.arange(60)
    wave, moved = (np.cos(2 * np.pi * 0.15 * (x + s)) for s in (0.0, shift))
    got = shift_matrix(60, shift).numpy() @ wave
    np.testing.assert_allclose(got[8:-8], moved[8:-8], atol=0.02)


def test_motion_moves_volumes_and_keeps_their_sum():
    volumes = torch.zeros(2, 13, 13, 13)
    volumes[:, 6, 6, 6] = 1.0
    moved = move(volumes, np.array([[0.3, 0.0, -0.2], [1.0, 0.0, 0.0]]))
    assert moved.sum((1, 2, 3)).tolist() == pytest.approx([1.0] * 2, abs=1e-5)
    assert float((moved[0] - volumes[0]).abs().max()) > 0.05
    assert float(moved[1, 5, 6, 6]) == pytest.approx(1.0)
    assert torch.equal(move(volumes, np.zeros((2, 3))), volumes)


def test_eddy_currents_shift_with_the_gradient_along_one_axis():
    g = spread_directions(20)
    scanner = attrs.evolve(draw_protocol(np.random.default_rng(0)).low, motion=0.0, eddy=0.4)
    shifts = draw_shifts(np.concatenate([g, -g]), 3, scanner, np.random.default_rng(2))
    assert not shifts[:3].any() and np.count_nonzero(shifts[3:].any(0)) == 1
    np.testing.assert_allclose(shifts[3:23], -shifts[23:])
    fitted, residual, *_ = np.linalg.lstsq(g, shifts[3:23].sum(1), rcond=None)
    assert np.linalg.norm(fitted) > 0.1 and float(residual.sum()) < 1e-20


def test_gradients_are_off_by_what_is_said():
    stated = spread_directions(64)
    true = true_directions(stated, 2.0, np.random.default_rng(9))
    angle = np.rad2deg(np.arccos(np.clip((true * stated).sum(1), -1, 1)))
    # two components of two degrees each: their length is 2 sqrt(pi / 2) on average
    assert angle.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.2)
