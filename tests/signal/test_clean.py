"""Noise and ringing go, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import fibonacci_directions, tensor_phantom

from dmri7t.errors import InputError
from dmri7t.signal.clean import denoise, patch_radius, remove_ringing

SD = 25.0


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    """Noise-free signals (X, Y, Z, N), positive everywhere, and the brain."""
    bvals = np.array([0.0] * 2 + [1000.0] * 18)
    directions = np.concatenate([np.zeros((2, 3)), fibonacci_directions(18)])
    _, mask = tensor_phantom((16, 18, 14), bvals, directions)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in mask.shape], indexing="ij"), -1)
    angle = (places[..., 0] + 1) * np.pi / 4
    fibre = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    along = (fibre[..., None, :] @ directions.T)[..., 0, :] ** 2
    return 800 * np.exp(-bvals * (0.3e-3 + 1.4e-3 * along)) + 200, mask


def cleaned(scan: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, dict]:
    volume, metrics = denoise(lambda i: scan[..., i], scan.shape[3], mask)
    return np.stack([volume(i) for i in range(scan.shape[3])], -1), metrics


def test_noise_goes_and_the_truth_stays(phantom):
    truth, mask = phantom
    noisy = truth + np.random.default_rng(1).normal(0, SD, truth.shape)
    clean, metrics = cleaned(noisy, mask)
    before, after = (np.sqrt(np.mean((x - truth)[mask] ** 2)) for x in (noisy, clean))
    assert before == pytest.approx(SD, rel=0.02) and after < 0.6 * before
    # what is left is no trend: the means of volumes are kept
    assert np.abs((clean - truth)[mask].mean(0)).max() < 3
    assert metrics["noise_sd"] == pytest.approx(SD, rel=0.1)
    assert metrics["removed_sd"] == pytest.approx(SD, rel=0.2)


def test_without_noise_nothing_changes(phantom):
    truth, mask = phantom
    clean, metrics = cleaned(truth, mask)
    assert np.abs(clean - truth).max() < 1e-3 * truth.max()
    assert metrics["removed_sd"] < 0.2


def test_outside_the_brain_the_scan_stays_as_it_is(phantom):
    truth, _ = phantom
    noisy = np.abs(truth + np.random.default_rng(2).normal(0, SD, truth.shape)).astype(np.float32)
    small = np.zeros(truth.shape[:3], bool)
    small[7, 8, 6] = True
    kept = noisy.copy()
    clean, _ = cleaned(noisy, small)
    np.testing.assert_array_equal(noisy, kept)
    np.testing.assert_array_equal(clean[0], noisy[0])
    assert np.abs(clean - noisy)[7, 8, 6].max() > 1


def test_values_that_are_not_numbers_harm_no_neighbour(phantom):
    truth, mask = phantom
    broken = truth.copy()
    broken[8, 9, 7, 3] = np.nan
    clean, _ = cleaned(broken, mask)
    assert np.isfinite(clean).all()


def test_an_image_smaller_than_a_patch_is_refused(phantom):
    truth, mask = phantom
    with pytest.raises(InputError, match="--denoise: .* smaller than a patch"):
        cleaned(truth[:, :, :3], mask[:, :, :3])
    assert patch_radius(300) == 3


def ringing(axis: int) -> tuple[np.ndarray, np.ndarray]:
    """A box whose k-space was cut off in the plane of the slices, and the box, (X, Y, Z)."""
    fine, coarse = 256, 64
    where = np.abs(np.arange(fine) - fine // 2 + 0.5) < 60
    box = np.outer(where, where) * 1000.0
    k = np.fft.fftshift(np.fft.fft2(box))
    middle = slice(fine // 2 - coarse // 2, fine // 2 + coarse // 2)
    cut = np.abs(np.fft.ifft2(np.fft.ifftshift(k[middle, middle]))) * (coarse / fine) ** 2
    small = box.reshape(coarse, 4, coarse, 4).mean((1, 3))
    return tuple(np.moveaxis(np.stack([x] * 3), 0, axis) for x in (cut, small))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ringing_goes(axis):
    rings, truth = ringing(axis)
    # away from the edge, where the width of the pixel matters
    flat = np.moveaxis(truth, axis, 0)[1]
    inside = np.zeros_like(flat, bool)
    inside[22:42, 22:42] = True
    after = np.moveaxis(remove_ringing(rings, axis), axis, 0)[1]
    before = np.moveaxis(rings, axis, 0)[1]
    errors = [np.sqrt(np.mean((x - flat)[inside] ** 2)) for x in (before, after)]
    assert errors[0] > 10 and errors[1] < 0.5 * errors[0]


def test_a_smooth_image_stays():
    places = np.stack(np.meshgrid(*[np.linspace(-3, 3, 40)] * 2, [0.0], indexing="ij"), -1)
    smooth = 1000 * np.exp(-(places**2).sum(-1) / 2)
    assert np.abs(remove_ringing(smooth) - smooth).max() < 10
