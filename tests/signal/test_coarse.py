"""A scan on larger voxels: means, noise, place, and how it goes on beyond the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.coarse import coarsen
from dmri7t.signal.grids import Grid
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.shell import Brain, ShellSignal

SHAPE = (24, 20, 18)


def scan_of(values_XYZ: np.ndarray, mask: np.ndarray, noise: float = 0.0) -> ShellSignal:
    """Eight directions and two b0s, twice as bright, of one image."""
    grid = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
    brain = Brain(mask, grid)
    signal_V = torch.as_tensor(values_XYZ[mask], dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    noise_NV = noise * torch.randn(10, brain.n_voxels, generator=generator)
    b0s_MV = 2 * signal_V + noise_NV[8:]
    return ShellSignal(
        signal_NV=signal_V + noise_NV[:8],
        b0_V=b0s_MV.mean(0),
        directions_N3=fibonacci_directions(8),
        bval=1000.0,
        n_b0=2,
        brain=brain,
        b0s_MV=b0s_MV,
    )


@pytest.fixture
def inside():
    mask = np.zeros(SHAPE, bool)
    mask[3:-3, 3:-3, 3:-3] = True
    return mask


@pytest.mark.parametrize("factor", [1.19, 1.5])
def test_uniform_scan_stays_uniform_on_larger_voxels(inside, factor):
    coarse = coarsen(scan_of(np.full(SHAPE, 5.0), inside), factor)
    np.testing.assert_allclose(coarse.signal_NV, 5.0, rtol=1e-5)
    np.testing.assert_allclose(coarse.b0_V, 10.0, rtol=1e-5)
    np.testing.assert_allclose(coarse.brain.voxel_sizes, 2 * factor, rtol=0.05)
    volume = coarse.brain.n_voxels * coarse.brain.voxel_sizes.prod() / (inside.sum() * 8)
    assert 0.8 < volume < 1.2


@pytest.mark.parametrize("factor", [1.19, 1.5])
def test_noise_falls_as_that_of_larger_voxels_does(inside, factor):
    """In a volume of so many more mm3 there is the root of it less noise: as scanners have it."""
    coarse = coarsen(scan_of(np.full(SHAPE, 50.0), inside, 1.0), factor)
    larger = coarse.brain.voxel_sizes.prod() / 8
    assert float(coarse.signal_NV.std()) == pytest.approx(larger**-0.5, rel=0.1)


def test_what_is_seen_stays_where_it_is(inside):
    """A smooth image comes back on its own grid by a spline."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    image = 10 + 3 * np.sin(2 * np.pi * x / 16) * np.cos(2 * np.pi * y / 18) + 0.1 * z
    scan = scan_of(image, inside)
    coarse = coarsen(scan, 1.25)
    back_NV = Regrid(coarse.brain, scan.brain)(coarse.signal_NV)
    inner = np.zeros(SHAPE, bool)
    inner[6:-6, 6:-6, 6:-6] = True
    counted = torch.as_tensor(inner[inside])
    error_NV = (back_NV - scan.signal_NV)[:, counted]
    assert float(error_NV.abs().max()) < 0.15


def test_brain_that_reaches_the_faces_does_not_ring(inside):
    """Opposite faces are neighbours in k-space; those here differ by ten times the signal."""
    image = np.linspace(1, 10, SHAPE[2])[None, None] * np.ones(SHAPE)
    scan = scan_of(image, np.ones(SHAPE, bool))
    coarse = coarsen(scan, 1.5)
    volume = coarse.brain.place(coarse.signal_NV)[0].numpy()
    mask = coarse.brain.mask
    along = [
        volume[:, :, k][mask[:, :, k]].mean() for k in range(mask.shape[2]) if mask[..., k].any()
    ]
    assert min(np.diff(along)) > 0 and min(along) > 0.5 and max(along) < 10.5
