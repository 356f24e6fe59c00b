"""A model's image held to the scan: what the scan sees comes back, detail stays."""

import numpy as np
import pytest
import torch

from dmri7t.signal.floor import RAYLEIGH
from dmri7t.signal.level import hold_level, trust

SHAPE = (40, 33, 26)
COARSER = (1.5, 1.5, 1.5)
ALL = torch.ones(SHAPE, dtype=torch.bool)
ONES = torch.ones(SHAPE)
INNER = (slice(3, -3),) * 3


def field(scale: float) -> torch.Tensor:
    x, y, z = np.indices(SHAPE)
    return torch.as_tensor(1 + 0.3 * np.sin(x / scale) * np.cos((y + z) / scale)).float()


def test_a_slow_factor_is_taken_back():
    own = field(9.0)
    held = hold_level(own * field(12.0), own, ONES, ALL, COARSER)
    torch.testing.assert_close(held[INNER], own[INNER], rtol=0.01, atol=0)


def test_detail_stays():
    own = field(9.0)
    board = torch.as_tensor((-1.0) ** np.indices(SHAPE).sum(0)).float()
    sharper = own * (1 + 0.2 * board)
    held = hold_level(1.3 * sharper, own, ONES, ALL, COARSER)
    expected = own + 1.3 * (sharper - own)
    torch.testing.assert_close(held[INNER], expected[INNER], rtol=0.01, atol=0)


@pytest.mark.parametrize("period", [3.0, 5.0, 8.0])
def test_waves_are_the_scans_by_the_iterations_response(period):
    """1 - (1 - h)^2 of a wave is the scan's, h being a Gaussian's response to it."""
    x = torch.arange(60.0)[:, None, None].expand(60, 8, 8)
    wave = torch.sin(2 * torch.pi * x / period)
    image, inside = torch.full((60, 8, 8), 2.0), torch.ones(60, 8, 8, dtype=torch.bool)
    held = hold_level(image, image + wave, torch.ones_like(image), inside, COARSER) - image
    sd = 1.5 * 1.5 / 2.3548
    response = np.exp(-0.5 * (2 * np.pi * sd / period) ** 2)
    middle = slice(20, 40)
    part = float((held * wave)[middle].sum() / wave[middle].square().sum())
    assert part == pytest.approx(1 - (1 - response) ** 2, abs=0.02)


def test_a_lesion_that_a_model_does_not_know_comes_back():
    """The contrast of balls, in the model's answer a half of what it is.

    Radii are in voxels of the output: the smallest is one voxel of the scan.
    """
    x, y, z = np.indices(SHAPE)
    for radius, least in ((6.0, 0.93), (3.0, 0.86), (1.5, 0.72)):
        ball = (x - 20) ** 2 + (y - 16) ** 2 + (z - 13) ** 2 < radius**2
        own = torch.as_tensor(np.where(ball, 1.4, 1.0)).float()
        made = torch.as_tensor(np.where(ball, 1.2, 1.0)).float()
        held = hold_level(made, own, ONES, ALL, COARSER)
        contrast = float(held[torch.as_tensor(ball)].mean() - held[torch.as_tensor(~ball)].mean())
        assert least * 0.4 < contrast < 0.41, radius


def test_outside_plays_no_part():
    inside = ALL.clone()
    inside[:, :, :7] = False
    own, made = field(9.0), 2 * field(9.0)
    other, elsewhere = made.clone(), own.clone()
    other[~inside], elsewhere[~inside] = 1e6, 1e6
    expected = hold_level(made, own, ONES, inside, COARSER)
    torch.testing.assert_close(hold_level(other, elsewhere, ONES, inside, COARSER), expected)
    assert float(expected[~inside].abs().max()) == 0
    assert float(hold_level(made, -9 * own, ONES, inside, COARSER).min()) == 0


def test_what_is_not_trusted_holds_nothing():
    own, made = field(9.0), field(12.0)
    torch.testing.assert_close(hold_level(made, own, 0 * ONES, ALL, COARSER), made)
    half = ONES.clone()
    half[20:] = 0
    own[20:] = 50
    held = hold_level(made, own, half, ALL, COARSER)
    assert float((held - made)[26:].abs().max()) < 1e-4
    torch.testing.assert_close(held[3:15, 3:-3, 3:-3], own[3:15, 3:-3, 3:-3], rtol=0.01, atol=0)


def test_trust_in_magnitudes_of_pure_noise_is_a_half():
    noise = torch.complex(*torch.randn(2, 200_000, generator=torch.manual_seed(0))).abs()
    floor = float(noise.mean())
    assert floor == pytest.approx(RAYLEIGH, rel=0.01)
    found = trust(torch.tensor([0.5 * floor, floor, 2 * floor, 1.0]), torch.tensor([1, 1, 1, 0.0]))
    assert found.tolist() == pytest.approx([0, 0.5, 1, 1], abs=0.03)
    assert trust(torch.zeros(1), torch.zeros(1)).tolist() == [0]
