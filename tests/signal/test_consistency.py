"""The way back to the input's grid, differences in units of noise, and the low frequencies held."""

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions
from scipy.ndimage import binary_erosion

from dmri7t.signal.consistency import (
    Back,
    BeforeAfter,
    LowPass,
    departure,
    fit_slabs,
    hold,
    in_noise,
    noise_limits,
)
from dmri7t.signal.floor import add_floor
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.harmonics import plan_fit, synthesize
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.resample import resample_mask
from dmri7t.signal.shell import Brain, Shell, ShellSignal

GRID = Grid((26, 30, 22), np.diag([-2.0, 2.0, 2.5, 1.0]))
FINE = refine(GRID, GRID.voxel_sizes * 1.05 / 1.25)


def ball(grid, share=0.42):
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij"), -1)
    return (places**2).sum(-1) < (2 * share) ** 2


MASK = ball(GRID)
MASK_FINE = resample_mask(MASK, GRID, FINE)
BRAIN, BRAIN_FINE = Brain(MASK, GRID), Brain(MASK_FINE, FINE)
BACK = Back(BRAIN_FINE, BRAIN)
UP = Regrid(BRAIN, BRAIN_FINE)


def noise_images(n, mask, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(0, 1, (n, int(mask.sum()))), dtype=torch.float32)


def test_what_was_interpolated_comes_back_as_it_was():
    """Even white noise, the hardest of images: exactly without a mask, at its rim nearly."""
    images = noise_images(3, MASK)
    error = BACK(UP(images)) - images
    assert error.square().mean() < 0.03
    deep = torch.as_tensor(binary_erosion(MASK, iterations=4)[MASK])
    assert deep.sum() > 1000 and error[:, deep].square().mean() < 1e-3
    everything = np.ones(GRID.shape, bool)
    whole, fine = Brain(everything, GRID), Brain(np.ones(FINE.shape, bool), FINE)
    images = noise_images(3, everything)
    up, back = Regrid(whole, fine), Back(fine, whole)
    torch.testing.assert_close(back(up(images)), images, atol=1e-4, rtol=0)
    flat = torch.full((1, int(MASK_FINE.sum())), 5.0)
    torch.testing.assert_close(BACK(flat), torch.full((1, int(MASK.sum())), 5.0))


def test_back_removes_what_the_input_cannot_hold():
    """A wave beyond the input's Nyquist frequency does not come back as a slower one."""
    whole, fine = (Brain(np.ones(grid.shape, bool), grid) for grid in (GRID, FINE))
    line = np.cos(np.pi * 0.98 * np.arange(FINE.shape[0]))
    wave = torch.as_tensor(np.broadcast_to(line[:, None, None], FINE.shape).reshape(1, -1)).float()
    made = [
        back(wave).reshape(GRID.shape)[6:-6].square().mean()
        for back in (Back(fine, whole), Regrid(fine, whole))
    ]
    assert made[0] < 0.35 * made[1]


def test_native_and_coarser_grids_come_back():
    images = noise_images(2, MASK)
    torch.testing.assert_close(Back(BRAIN, BRAIN)(images), images, atol=1e-4, rtol=0)
    coarse = refine(GRID, 4.0)
    mask_coarse = resample_mask(MASK, GRID, coarse)
    flat = torch.ones(1, int(mask_coarse.sum()))
    back = Back(Brain(mask_coarse, coarse), BRAIN)(flat)
    torch.testing.assert_close(back, torch.ones(1, int(MASK.sum())), atol=1e-5, rtol=0)


def scan(n=45, sigma=25.0, seed=3):
    """Clean and noisy scan: one b0, then a shell with fibres that turn slowly."""
    directions = fibonacci_directions(n)
    places = np.argwhere(MASK) / np.array(GRID.shape)
    angle = 2 * places[:, 0] + places[:, 2]
    fibre = np.stack([np.cos(angle), np.sin(angle), 0.3 + 0 * angle], 1)
    fibre /= np.linalg.norm(fibre, axis=1, keepdims=True)
    signal = np.exp(-1.0 * (0.3 + 1.4 * (directions @ fibre.T) ** 2))
    clean = 1000 * torch.as_tensor(np.concatenate([np.ones((1, len(places))), signal])).float()
    return clean, clean + sigma * noise_images(n + 1, MASK, seed), directions


def white(noisy, directions, n_b0=1):
    """The shell behind one b0, said to have noise that neighbours do not share."""
    shell = Shell.from_signal(ShellSignal(noisy[1:], noisy[0], directions, 1000.0, n_b0, BRAIN))
    return attrs.evolve(shell, description=attrs.evolve(shell.description, correlation=(0, 0, 0)))


@pytest.fixture(scope="module")
def measured():
    clean, noisy, directions = scan()
    noisy[0] = clean[0]  # a b0 of many volumes
    return clean, noisy, white(noisy, directions, 1000)


def compared(measured, output):
    _, noisy, shell = measured
    rows = list(range(1, len(noisy)))
    return departure(BeforeAfter(noisy, output, BACK), noisy[0], shell, rows)


def test_interpolation_departs_from_nothing(measured):
    found = compared(measured, UP(measured[1]))
    assert max(found.beyond) == 0
    assert max(d / n for d, n in zip(found.difference, found.noise, strict=True)) < 0.1
    assert found.map_LV.shape == (3, MASK.sum()) and found.map_LV.median() < 0.05


def test_a_floor_that_was_taken_out_is_no_departure(measured):
    """Of signals as high as noise: an output without the floor, told so, comes back with it."""
    clean, noisy, shell = measured
    rows, sigma = list(range(1, len(noisy))), 400.0
    signals = mean_magnitudes(noisy[1:], shell, sigma)
    assert float((signals - noisy[1:]).mean()) > 0.1 * sigma
    magnitudes = torch.cat([noisy[:1], signals])
    scans = BeforeAfter(magnitudes, UP(noisy), BACK)
    told = departure(scans, noisy[0], shell, rows, sigma)
    untold = departure(scans, noisy[0], shell, rows)
    assert told.beyond[0] < 0.01 and untold.beyond[0] > 0.5
    assert told.difference[0] < 0.1 * untold.difference[0]


def mean_magnitudes(signal_NV, shell, sigma):
    """What signals are on the mean of magnitudes, by their coefficients."""
    matrix_CN = torch.as_tensor(shell.plan.matrix_CN[:15]).float()
    sh_CV = matrix_CN @ signal_NV
    raised_CV = add_floor(sh_CV, torch.full_like(sh_CV[0], sigma)) - sh_CV
    return signal_NV + synthesize(raised_CV, shell.directions_N3)


def test_a_scan_without_its_noise_departs_as_noise_does(measured):
    """The map is about 1, passes its limit as rarely as it says, and the metrics meet."""
    found = compared(measured, UP(measured[0]))
    np.testing.assert_allclose(found.difference, found.noise, rtol=0.12)
    np.testing.assert_allclose(found.map_LV.square().mean(1), 1, atol=0.25)
    assert max(found.beyond) < 0.01


def test_a_lesion_that_the_model_made_up_is_seen_where_it_is(measured):
    clean, _, _ = measured
    fine = UP(clean)
    places = np.argwhere(MASK_FINE) - np.array(FINE.shape) / 2
    inside = torch.as_tensor((places**2).sum(1) < 5**2)
    fine[1:, inside] *= 0.8
    found = compared(measured, fine)
    away = np.linalg.norm((np.argwhere(MASK) - np.array(GRID.shape) / 2) / 1.05 * 1.25, axis=1)
    limit = noise_limits(1)[0]
    seen = (found.map_LV[0] > limit).numpy()
    assert seen[away < 4].mean() > 0.95 and seen[away > 10].mean() < 0.01
    assert found.beyond[0] == pytest.approx(seen.mean())


def test_correlated_noise_is_not_taken_for_a_departure():
    """Noise that neighbours share is larger after smoothing, and the map knows."""
    everything = np.ones((40, 40, 40), bool)
    rng = np.random.default_rng(1)
    rho = 0.5
    volume = rng.normal(0, 1, everything.shape)
    for place in range(1, 40):
        volume[place] = rho * volume[place - 1] + np.sqrt(1 - rho**2) * volume[place]
    values = torch.as_tensor(volume.reshape(1, -1)).float()
    share = torch.ones_like(values)
    correlated = in_noise(values, share, (rho, 0, 0), everything)
    as_white = in_noise(values, share, (0, 0, 0), everything)
    assert correlated.square().mean() == pytest.approx(1, abs=0.1)
    assert as_white.square().mean() > 1.5


def test_fit_in_slabs_is_the_fit(monkeypatch):
    monkeypatch.setattr("dmri7t.signal.consistency.SLAB", 700)
    values, matrix = noise_images(9, MASK), torch.rand(6, 4)
    rows = [8, 1, 2, 5]
    torch.testing.assert_close(fit_slabs(values, rows, matrix), matrix @ values[rows])


@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_lowpass_is_a_projection_and_keeps_what_is_slow(fraction):
    lowpass = LowPass(BRAIN_FINE, GRID.voxel_sizes, fraction)
    images = noise_images(3, MASK_FINE)
    slow = lowpass(images)
    torch.testing.assert_close(lowpass(slow), slow, atol=2e-3, rtol=0)
    # what is left is at right angles to what was taken
    assert abs(((images - slow) * slow).sum(1)).max() < 1e-2 * slow.square().sum(1).min()
    # of white noise, as much is left as there are frequencies
    assert slow.square().mean() < 3 * fraction**3
    slope = torch.as_tensor(np.argwhere(MASK_FINE)[:, 1], dtype=torch.float32)[None]
    assert (lowpass(slope) - slope).abs().max() < 0.02 * slope.max()
    flat = torch.ones(1, int(MASK_FINE.sum()))
    torch.testing.assert_close(lowpass(flat), flat, atol=1e-3, rtol=0)


def test_lowpass_does_not_depend_on_how_many_images_there_are():
    lowpass = LowPass(BRAIN_FINE, GRID.voxel_sizes, 0.25)
    images = noise_images(11, MASK_FINE)
    torch.testing.assert_close(lowpass(images)[9:10], lowpass(images[9:10]), atol=2e-3, rtol=0)


def scaled_scan():
    """Interpolated coefficients of order 6, a scaling that is slow and one that is fast."""
    _, noisy, directions = scan(n=60)
    plan = plan_fit(directions)
    sh_CV = UP(torch.as_tensor(plan.matrix_CN).float() @ (noisy[1:] / noisy[0]))
    places = np.argwhere(MASK_FINE)
    slow = 1 + 0.2 * np.sin(places[:, 0] / 9)
    fast = 1 + 0.2 * (-1.0) ** places.sum(1)
    return sh_CV, UP(noisy[:1])[0], torch.as_tensor(slow).float(), torch.as_tensor(fast).float()


def test_held_at_low_frequencies_and_nowhere_else():
    sh_CV, b0_V, slow_V, fast_V = scaled_scan()
    lowpass = LowPass(BRAIN_FINE, GRID.voxel_sizes, 0.25)
    result = sh_CV.clone()
    result[:15] *= slow_V * fast_V
    held = hold(result, sh_CV, b0_V, lowpass)

    # what is slow in the signal is what was measured
    wanted, before, after = (lowpass(x * b0_V) for x in (sh_CV, result, held))
    scale = (before - wanted)[:15].square().mean().sqrt()
    assert (after - wanted)[:15].square().mean().sqrt() < 1e-2 * scale
    # on the input's grid too, where it is brought back
    coarse = LowPass(BRAIN, GRID.voxel_sizes, 0.2)
    home = [coarse(BACK(x * b0_V)) for x in (sh_CV, result, held)]
    left, had = ((x - home[0])[:15].square().mean() for x in (home[2], home[1]))
    assert left < 0.01 * had
    # a second time changes nothing more; detail stays; orders above 4 are not touched
    again = hold(held, sh_CV, b0_V, lowpass)
    assert (again - held).square().mean().sqrt() < 1e-2 * (held - result).square().mean().sqrt()
    rest = (result * b0_V - before) - (held * b0_V - after)
    assert rest[:15].square().mean().sqrt() < 1e-2 * scale
    assert torch.equal(held[15:], result[15:])


def test_nothing_is_held_where_nothing_was_changed():
    sh_CV, b0_V, _, _ = scaled_scan()
    lowpass = LowPass(BRAIN_FINE, GRID.voxel_sizes, 0.25)
    torch.testing.assert_close(hold(sh_CV, sh_CV, b0_V, lowpass), sh_CV, atol=0, rtol=0)


def test_fraction_must_be_one():
    with pytest.raises(ValueError, match="fraction"):
        LowPass(BRAIN, GRID.voxel_sizes, 0.0)
    # the whole band at the same grid: the measurement itself
    images = noise_images(1, MASK)
    torch.testing.assert_close(
        LowPass(BRAIN, GRID.voxel_sizes, 1.0)(images), images, atol=1e-3, rtol=0
    )


def test_a_fit_of_order_two_has_two_rows():
    directions = fibonacci_directions(12)
    noisy = torch.cat([torch.full((1, int(MASK.sum())), 500.0), 200 + noise_images(12, MASK)])
    shell = white(noisy, directions)
    scans = BeforeAfter(noisy, UP(noisy), BACK)
    departed = departure(scans, noisy[0], shell, list(range(1, 13)))
    assert departed.map_LV.shape[0] == 2 and len(departed.beyond) == 2
    assert synthesize(shell.sh_CV, directions).shape[0] == 12
