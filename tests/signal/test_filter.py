"""The steerable filter: rotation, no noise, white noise by theory, the rim, thick slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions
from scipy import ndimage

from dmri7t.signal.band_noise import BandNoise
from dmri7t.signal.filter import (
    Smoothed,
    apply_filter,
    filter_order2,
    filter_shell,
    wiener_weights,
)
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import fit, plan_fit, synthesize
from dmri7t.signal.mean_b0 import filter_b0
from dmri7t.signal.neighbourhood import Neighbourhood, side_weights
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal

SHAPE = (14, 15, 16)
MASK = np.ones(SHAPE, bool)
BALL = ((np.indices(SHAPE) - 7) ** 2).sum(0) < 40
DIRECTIONS = fibonacci_directions(40)
PLAN = plan_fit(DIRECTIONS, order=4)


def space_of(mask: np.ndarray, voxel_sizes: tuple[float, float, float]) -> Neighbourhood:
    return Neighbourhood(Brain(mask, Grid(mask.shape, np.diag([*voxel_sizes, 1.0]))))


def expected_noise(
    sigma_V: torch.Tensor, correlation: Sequence[float], space: Neighbourhood
) -> BandNoise:
    """Noise of known size, neighbours further apart correlated as a power of the next ones."""
    own_V = [own_weight(space, correlation, passes) / space.reach(passes) for passes in (1, 3)]
    power_V = sigma_V.square()
    return BandNoise(power_V * (1 - own_V[0]), power_V * (own_V[0] - own_V[1]), power_V)


def own_weight(space: Neighbourhood, correlation: Sequence[float], passes: int) -> torch.Tensor:
    """Sum over the kernel of weight times correlation with the centre, within the mask, (V,)."""
    volume = space.inside.numpy().astype(float)
    for axis, (side, rho) in enumerate(zip(space.sides, correlation, strict=True)):
        line = np.array([1.0])
        for _ in range(passes):
            line = np.convolve(line, [side, 1 - 2 * side, side])
        line *= float(rho) ** np.abs(np.arange(-passes, passes + 1))
        volume = ndimage.convolve1d(volume, line, axis, mode="constant")
    return space.pick(torch.from_numpy(volume).float())


def fibres(directions_N3: np.ndarray, turn: np.ndarray | None = None) -> torch.Tensor:
    """Signals (N, V) of fibres that turn slowly over a block, the object turned by a matrix."""
    x, y, z = np.indices(SHAPE).reshape(3, -1) / 12
    axis_3V = np.stack([np.cos(2 * x + y), np.sin(2 * x + y), 0.5 * np.cos(2 * z)])
    axis_3V = (np.eye(3) if turn is None else turn) @ (axis_3V / np.linalg.norm(axis_3V, axis=0))
    return torch.from_numpy(np.exp(-0.3 - 1.4 * (directions_N3 @ axis_3V) ** 2)).float()


def filtered(signal_NV, plan, space, noise=None):
    sh_CV = fit(signal_NV, plan)
    noise = BandNoise.measured(signal_NV, plan, space) if noise is None else noise
    smoothed = Smoothed(sh_CV, space)
    weights_L3V = wiener_weights(smoothed, plan, noise)
    order2_5V, _ = filter_order2(smoothed, weights_L3V[1], plan, space)
    return apply_filter(smoothed, weights_L3V, order2_5V)


def noisy(signal_NV: torch.Tensor, sigma: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return signal_NV + sigma * torch.randn(signal_NV.shape, generator=generator)


def test_turning_head_and_gradients_turns_the_result():
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    space = space_of(MASK, (2, 2, 2))
    noise_NV = noisy(torch.zeros(40, MASK.size), 0.05)
    made = filtered(fibres(DIRECTIONS) + noise_NV, PLAN, space)
    table = DIRECTIONS @ turn.T
    turned = filtered(fibres(table, turn) + noise_NV, plan_fit(table, order=4), space)
    # what each says along the same directions of its own object
    seen = fibonacci_directions(25)
    torch.testing.assert_close(
        synthesize(made, seen), synthesize(turned, seen @ turn.T), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(rish(made), rish(turned), rtol=1e-3, atol=1e-5)


def test_without_noise_sharp_detail_stays():
    rng = np.random.default_rng(0)
    sh_CV = torch.from_numpy(rng.normal(size=(15, MASK.size))).float()
    signal_NV = synthesize(sh_CV, DIRECTIONS)
    made = filtered(signal_NV, PLAN, space_of(MASK, (2, 2, 2)))
    torch.testing.assert_close(made, sh_CV, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("order", "least", "most"), [(0, 6, 7.8), (2, 3.61, 4.5)])
def test_white_noise_alone_is_left_as_smoothing_leaves_it(order, least, most):
    """Order 0 as smoothing once does, order 2 nearly as smoothing three times."""
    space = space_of(MASK, (2, 2, 2))
    signal_NV = noisy(torch.zeros(40, MASK.size), 1.0)
    made, raw = filtered(signal_NV, PLAN, space), fit(signal_NV, PLAN)
    inner = space.place(rish(made)[order // 2])[4:-4, 4:-4, 4:-4].mean()
    before = space.place(rish(raw)[order // 2])[4:-4, 4:-4, 4:-4].mean()
    # (1, 2, 1) / 4 along three axes keeps (6 / 16)^3 of white noise, three times (924 / 4096)^3;
    # weights are estimated
    assert (least / 16) ** 3 < float(inner / before) < (most / 16) ** 3


def test_order_four_of_noise_alone_is_smoothed_further():
    space = space_of(MASK, (2, 2, 2))
    signal_NV = noisy(torch.zeros(40, MASK.size), 1.0)
    made, raw = rish(filtered(signal_NV, PLAN, space)), rish(fit(signal_NV, PLAN))
    ratio_3 = [float(made[i].mean() / raw[i].mean()) for i in range(3)]
    assert ratio_3[2] < 0.6 * ratio_3[1]


def test_crossings_that_order_2_does_not_foretell_stay():
    """Two fibres at right angles everywhere: noise of the coarse band is what the others leave."""
    x, y = DIRECTIONS[:, :1], DIRECTIONS[:, 1:2]
    crossing_N1 = torch.from_numpy(np.exp(-1.4 * x**2) + np.exp(-1.4 * y**2)).float() / 2
    brain = Brain(MASK, Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    signal_NV = 500 * noisy(crossing_N1.expand(-1, MASK.size), 0.2)
    b0_V = torch.full((brain.n_voxels,), 500.0)
    measured = ShellSignal(signal_NV, b0_V, DIRECTIONS, 1000.0, 4, brain)
    made = filter_shell(measured, Shell.from_signal(measured, order=4)).sh_CV[6:15]
    truth = fit(crossing_N1, PLAN)[6:]
    kept = (made * truth).sum(0) / truth.square().sum(0)
    assert float(kept.mean()) > 0.9


def test_white_noise_is_in_the_fine_band_but_for_an_eighth():
    space = space_of(np.ones((15, 15, 15), bool), (2, 2, 2))
    noise = expected_noise(torch.ones(15**3), (0, 0, 0), space)
    found = [float(space.place(v)[7, 7, 7]) for v in (noise.fine_V, noise.middle_V)]
    assert found == pytest.approx([0.875, 0.094], abs=5e-4)


def test_noise_is_measured_where_it_is():
    """Twice the noise on one side, under a signal whose detail is no noise."""
    space = space_of(MASK, (2, 2, 2))
    sigma_V = torch.where(torch.from_numpy(np.indices(SHAPE)[0].ravel() < 7), 0.02, 0.04)
    signal_NV = fibres(DIRECTIONS) + sigma_V * noisy(torch.zeros(40, MASK.size), 1.0)
    measured = BandNoise.measured(signal_NV, PLAN, space)
    wanted = expected_noise(sigma_V, (0, 0, 0), space)
    ratio = space.place(measured.fine_V / wanted.fine_V)
    assert float(ratio[:3].mean()) == pytest.approx(1, abs=0.15)
    assert float(ratio[-3:].mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("mask", [MASK, BALL], ids=["block", "ball"])
def test_correlated_noise_by_theory_and_by_residuals(mask):
    """Noise that neighbours share is less of the fine band: both ways say the same, rim too."""
    space = space_of(mask, (2, 2, 2))
    white = torch.randn(60, 18, 15, 16, generator=torch.Generator().manual_seed(1))
    rho = 0.6
    lines = [white[:, 0]]
    for x in range(1, 18):
        lines.append(rho * lines[-1] + (1 - rho**2) ** 0.5 * white[:, x])
    noise_NV = torch.stack(lines, 1)[:, 4:, :, :][..., torch.as_tensor(mask)]
    plan = plan_fit(fibonacci_directions(60), order=4)
    measured = BandNoise.measured(noise_NV, plan, space)
    wanted = expected_noise(torch.ones(int(mask.sum())), (rho, 0, 0), space)
    for name in ("fine_V", "middle_V"):
        one, other = getattr(measured, name).mean(), getattr(wanted, name).mean()
        assert float(one / other) == pytest.approx(1, abs=0.1)


def test_the_estimate_is_nearer_to_the_truth_for_any_noise():
    space = space_of(BALL, (2, 2, 2))
    truth = fit(fibres(DIRECTIONS)[:, BALL.ravel()], PLAN)
    clean_NV = synthesize(truth, DIRECTIONS)
    before, after = [], []
    for sigma in (0.001, 0.01, 0.05, 0.2):
        signal_NV = noisy(clean_NV, sigma)
        before.append(float((fit(signal_NV, PLAN) - truth).square().sum()))
        after.append(float((filtered(signal_NV, PLAN, space) - truth).square().sum()))
    ratios = np.array(after) / before
    assert (ratios < 1.02).all() and ratios[-1] < 0.15
    assert (np.diff(ratios) < 0).all()


def test_a_uniform_image_stays_up_to_the_rim():
    space = space_of(BALL, (2, 2, 2))
    values_V = torch.full((int(BALL.sum()),), 3.0)
    for passes in (1, 3):
        torch.testing.assert_close(space.smooth(values_V, passes), values_V)


def test_thick_slices_are_smoothed_less_across():
    assert side_weights((1.5, 1.5, 1.5)) == (0.25, 0.25, 0.25)
    point = torch.zeros(SHAPE)
    point[7, 7, 7] = 1
    made = space_of(MASK, (2, 2, 6)).spread(point)
    offsets = np.arange(SHAPE[2]) - 7
    variance_z = float((made.sum((0, 1)) * torch.from_numpy(offsets**2)).sum()) * 6**2
    variance_x = float((made.sum((1, 2)) * torch.from_numpy((np.arange(14) - 7) ** 2)).sum()) * 2**2
    assert variance_z == pytest.approx(variance_x, rel=1e-5)


def test_orders_above_four_take_its_weights():
    plan = plan_fit(fibonacci_directions(90), order=8)
    space = space_of(MASK, (2, 2, 2))
    signal_NV = noisy(torch.zeros(90, MASK.size), 1.0)
    sh_CV = fit(signal_NV, plan)
    smoothed = Smoothed(sh_CV, space)
    weights = wiener_weights(smoothed, plan, BandNoise.measured(signal_NV, plan, space))
    assert weights.shape == (3, 3, MASK.size)
    made = apply_filter(smoothed, weights)
    alone = apply_filter(Smoothed(sh_CV[:15], space), weights)
    torch.testing.assert_close(made[:15], alone)
    assert (rish(made)[3:].mean(1) < 0.1 * rish(sh_CV)[3:].mean(1)).all()


def test_a_fit_without_residuals_says_nothing_of_the_noise():
    directions = fibonacci_directions(6)
    plan = plan_fit(directions, order=2, laplace_beltrami=0.0)
    space = space_of(MASK, (2, 2, 2))
    with pytest.raises(ValueError, match="no residuals"):
        BandNoise.measured(torch.ones(6, MASK.size), plan, space)


def test_the_estimate_says_its_error_and_what_its_rish_lacks():
    brain = Brain(BALL, Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    truth_CV = fit(fibres(DIRECTIONS)[:, BALL.ravel()], PLAN)
    b0_V = torch.full((brain.n_voxels,), 500.0)
    signal_NV = 500 * noisy(synthesize(truth_CV, DIRECTIONS), 0.05)
    measured = ShellSignal(signal_NV, b0_V, DIRECTIONS, 1000.0, 4, brain)
    shell = Shell.from_signal(measured, order=4)
    made = filter_shell(measured, shell)
    inner = torch.from_numpy(((np.indices(SHAPE) - 7) ** 2).sum(0)[BALL] < 20)
    expected_L = rish(truth_CV)[:, inner].mean(1)
    squared_L = rish(made.sh_CV)[:, inner].mean(1)
    with_missing_L = squared_L + made.missing_LV[:, inner].mean(1)
    # the square alone is too small, but for order 4, of which order 2 tells nearly all
    assert float(squared_L[1] / expected_L[1]) < 0.998
    assert float(squared_L[2] / expected_L[2]) == pytest.approx(1, abs=0.05)
    for row, tolerance in ((0, 0.01), (1, 0.02), (2, 0.08)):
        assert float(with_missing_L[row] / expected_L[row]) == pytest.approx(1, abs=tolerance)
    error_L = rish(made.sh_CV - truth_CV)[:, inner].mean(1)
    expected_error_L = made.error_LV[:, inner].mean(1)
    assert float(expected_error_L[1] / error_L[1]) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(("averaged", "left"), [(1, 0.12), (4, 0.25), (100, 1.1)])
def test_a_b0_loses_the_noise_that_it_has_and_not_what_its_volumes_have(averaged, left):
    """Scanners average b0s: of what is nearly free of noise next to nothing is taken."""
    space = space_of(MASK, (2, 2, 2))
    x, y, z = np.indices(SHAPE).reshape(3, -1) / 3
    clean_V = torch.as_tensor(500 + 30 * np.sin(x) * np.cos(y + z), dtype=torch.float32)
    made_V = noisy(clean_V, 20 / averaged**0.5, seed=3)
    noise = expected_noise(torch.full_like(clean_V, 20.0), (0, 0, 0), space)
    filtered_V = filter_b0(made_V, noise.fine_V, space)
    before, after = ((v - clean_V).square().mean() for v in (made_V, filtered_V))
    assert float(after / before) < left


def test_edges_of_a_b0_stay():
    space = space_of(MASK, (2, 2, 2))
    edge_V = torch.as_tensor(np.where(np.indices(SHAPE)[0] < 7, 300.0, 900.0).ravel()).float()
    made_V = noisy(edge_V, 20.0, seed=4)
    noise = expected_noise(torch.full_like(edge_V, 20.0), (0, 0, 0), space)
    filtered_V = filter_b0(made_V, noise.fine_V, space)
    beside = torch.as_tensor((np.abs(np.indices(SHAPE)[0] - 6.5) < 1).ravel())
    before, after = ((v - edge_V).square() for v in (made_V, filtered_V))
    assert float(after[beside].mean() / before[beside].mean()) < 1.02
    assert float(after.mean() / before.mean()) < 0.6


def test_a_shell_that_does_not_tell_its_noise_stays_as_it_is():
    brain = Brain(MASK, Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    directions = fibonacci_directions(6)
    signal_NV = 500 * noisy(fibres(directions), 0.05)
    b0_V = torch.full((brain.n_voxels,), 500.0)
    measured = ShellSignal(signal_NV, b0_V, directions, 1000.0, 1, brain)
    shell = Shell.from_signal(measured, laplace_beltrami=0.0)
    made = filter_shell(measured, shell)
    torch.testing.assert_close(made.sh_CV, shell.sh_CV)
    torch.testing.assert_close(made.b0_V, measured.b0_V)
