"""Local levels: slow changes are taken back, detail stays, what lies outside plays no part."""

import numpy as np
import torch

from dmri7t.signal.level import hold_level

SHAPE = (40, 33, 26)
VOXEL = (1.05, 1.05, 1.05)
ALL = torch.ones(SHAPE, dtype=torch.bool)


def field(scale: float) -> torch.Tensor:
    x, y, z = np.indices(SHAPE)
    return torch.as_tensor(1 + 0.3 * np.sin(x / scale) * np.cos((y + z) / scale)).float()


def test_a_slow_factor_is_taken_back():
    own = field(9.0)
    held = hold_level(own * field(12.0), own, ALL, VOXEL)
    inner = (slice(3, -3),) * 3
    torch.testing.assert_close(held[inner], own[inner], rtol=0.04, atol=0)


def test_detail_stays():
    own = field(9.0)
    board = torch.as_tensor((-1.0) ** np.indices(SHAPE).sum(0)).float()
    sharper = own * (1 + 0.2 * board)
    held = hold_level(1.3 * sharper, own, ALL, VOXEL)
    # blocks have 27 voxels, of which 14 are brighter or darker
    inner = (slice(3, -3),) * 3
    torch.testing.assert_close(held[inner], sharper[inner], rtol=0.02, atol=0)


def test_a_lesion_that_a_model_does_not_know_comes_back():
    """The contrast of a ball of 12 mm, in the model's answer a half of what it is."""
    x, y, z = np.indices(SHAPE)
    ball = (x - 20) ** 2 + (y - 16) ** 2 + (z - 13) ** 2 < 6**2
    own = torch.as_tensor(np.where(ball, 1.4, 1.0)).float()
    made = torch.as_tensor(np.where(ball, 1.2, 1.0)).float()
    inside, around = torch.as_tensor(ball), torch.as_tensor(~ball)
    held = hold_level(made, own, ALL, VOXEL)
    assert 0.3 < float(held[inside].mean() - held[around].mean()) < 0.42


def test_outside_plays_no_part_and_nothing_is_divided_by_nothing():
    inside = ALL.clone()
    inside[:, :, :7] = False
    own, made = field(9.0), 2 * field(9.0)
    other = made.clone()
    other[~inside] = 1e6
    expected = hold_level(made, own, inside, VOXEL)
    torch.testing.assert_close(hold_level(other, own, inside, VOXEL), expected)
    assert float(expected[~inside].abs().max()) == 0
    empty = hold_level(torch.zeros(SHAPE), own, inside, (3.0, 0.5, 10.0))
    assert bool(torch.isfinite(empty).all())
