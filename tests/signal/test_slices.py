"""Slices that lost signal are found, and what is no loss is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.slices import slice_loss

SHAPE = (24, 22, 30)

PLACES = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"), -1)

MASK = (PLACES**2).sum(-1) < 0.9


def shell(n: int, noise: float, seed: int = 0) -> torch.Tensor:
    """Volumes (n, X, Y, Z) of fibres that turn from the bottom to the top of a ball."""
    directions = fibonacci_directions(n)
    angle = np.linspace(0, np.pi / 2, SHAPE[2])
    fibre = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    along = (directions @ fibre.T) ** 2
    decay = np.exp(-(0.6 + 0.9 * along))
    volumes = np.broadcast_to(decay[:, None, None, :], (n, *SHAPE))
    rng = np.random.default_rng(seed)
    tissue = 1 + 0.3 * np.sin(7 * PLACES[..., 0]) * np.cos(5 * PLACES[..., 2])
    return torch.from_numpy(1000 * (volumes * tissue + noise * rng.normal(size=volumes.shape)))


def loss_of(volumes: torch.Tensor) -> np.ndarray:
    """Loss laid back into the ball."""
    found = np.zeros(SHAPE)
    found[MASK] = slice_loss(volumes[:, torch.as_tensor(MASK)], MASK).numpy()
    return found


@pytest.mark.parametrize("n", [8, 16, 60])
@pytest.mark.parametrize("axis", [0, 2])
def test_lost_slices_are_found_whichever_way_they_lie(n, axis):
    volumes = shell(n, 0.05)
    volumes[: max(2, n // 6)].narrow(1 + axis, 10, 3).mul_(0.3)
    found = np.moveaxis(loss_of(volumes), axis, 0)
    inside = np.moveaxis(MASK, axis, 0)
    assert found[10:13][inside[10:13]] == pytest.approx(0.7, abs=0.1)
    elsewhere = np.r_[3:7, 17:20]
    assert found[elsewhere][inside[elsewhere]].max() < 0.25


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_fibres_that_turn_and_gain_that_drifts_are_no_loss(noise):
    volumes = shell(30, noise)
    volumes *= torch.linspace(0.9, 1.1, 30)[:, None, None, None]
    found = loss_of(volumes)[..., 4:-4]
    assert 0 <= found.min() and found.max() < 0.15


def test_empty_slices_of_all_volumes_are_another_fault():
    volumes = shell(16, 0.0)
    volumes[..., 10:14] = 0
    assert np.isfinite(loss_of(volumes)).all()
    assert loss_of(volumes)[..., 10:14].max() < 0.05


def test_the_ends_of_the_brain_are_not_judged():
    volumes = shell(16, 0.0)
    volumes[:3, ..., :3] *= 0.1
    assert MASK[..., :3].any() and loss_of(volumes).max() < 0.15


def test_a_mask_too_small_to_judge_has_no_loss():
    mask = np.zeros(SHAPE, bool)
    mask[:2, :2, :2] = True
    assert not slice_loss(torch.rand(9, 8), mask).any()
