"""Texture: blur and noise are seen, what looks alike is near however far its error is."""

import numpy as np
import pytest
import torch

from dmri7t.evaluation.texture import (
    BINS,
    COARSEST,
    spectrum_distance,
    texture_metrics,
)
from dmri7t.signal.coherence import smooth

SHAPE = (40, 36, 38)
INSIDE = np.ones(SHAPE, bool)


def image(seed: int) -> torch.Tensor:
    """A texture with power at all frequencies."""
    rough = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return (3 + 0.2 * rough + smooth(rough, 2)).square()


def maps(volume: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: volume for name in ("R0", "R2", "R4")}


def test_the_truth_is_no_distance_from_itself():
    metrics = texture_metrics(maps(image(0)), maps(image(0)), INSIDE)
    assert len(metrics) == 6 and all(v == pytest.approx(0, abs=1e-6) for v in metrics.values())


def test_another_draw_of_the_same_texture_is_near_and_blur_is_far():
    truth, other = image(0), image(1)
    blurred = smooth(truth, 1)
    assert (blurred_error := float((blurred - truth).square().mean())) > 0
    assert float((other - truth).square().mean()) > 1.5 * blurred_error
    drawn, far = (texture_metrics(maps(v), maps(truth), INSIDE) for v in (other, blurred))
    assert drawn["dB R2"] < 1 < 3 < far["dB R2"]
    assert drawn["Wasserstein R2"] < 0.5 * far["Wasserstein R2"]


def test_a_known_gain_is_told_in_decibels():
    truth = image(0).sqrt()
    inside = torch.as_tensor(INSIDE)
    assert spectrum_distance(2 * truth, truth, inside) == pytest.approx(20 * np.log10(2), rel=1e-5)
    # a coarse wave, that the window hardly spreads, changes nothing of the fine detail
    wave = torch.as_tensor(np.cos(2 * np.pi * COARSEST / 4 * np.arange(40)))[:, None, None]
    assert spectrum_distance(truth + wave, truth, inside) < 0.6
    assert BINS > 3


def test_voxels_that_do_not_count_play_no_part():
    truth, other = image(0), image(0)
    counted = INSIDE.copy()
    counted[:, :10] = False
    other[:, :10] = 1e4
    metrics = texture_metrics(maps(other), maps(truth), counted)
    assert all(v == pytest.approx(0, abs=1e-6) for v in metrics.values())
    few = np.zeros(SHAPE, bool)
    few[4, 4, 4] = True
    assert texture_metrics(maps(other), maps(truth), few) == {}


def test_maps_that_a_scan_does_not_show_are_left_out():
    truth = {"R0": image(0), "R2": image(0), "FA": image(0)}
    assert {key.split()[1] for key in texture_metrics(truth, truth, INSIDE)} == {"R0", "R2"}
