"""A brain on its grid: voxels into volumes and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain


@pytest.fixture
def brain() -> Brain:
    mask = np.random.default_rng(0).random((5, 6, 7)) < 0.5
    return Brain(mask, Grid(mask.shape, np.diag([1.0, 2.0, 3.0, 1.0])))


def test_placed_values_are_picked_again(brain):
    values_KV = torch.randn(3, brain.n_voxels)
    volumes = brain.place(values_KV)
    assert torch.equal(brain.pick(volumes), values_KV)
    assert torch.equal(brain.pick(volumes[0]), values_KV[0])
    assert not volumes[:, ~torch.from_numpy(brain.mask)].any()
    assert brain.voxel_sizes.tolist() == [1.0, 2.0, 3.0]


def test_voxels_stand_in_c_order(brain):
    index_XYZ = torch.arange(brain.mask.size).reshape(brain.mask.shape)
    assert brain.pick(index_XYZ).tolist() == np.flatnonzero(brain.mask).tolist()


def test_wrong_shapes_are_refused(brain):
    with pytest.raises(ValueError, match="grid of shape"):
        Brain(brain.mask[1:], brain.grid)
    with pytest.raises(ValueError, match="mask of shape"):
        brain.pick(torch.zeros(3, 7, 6, 5))
    with pytest.raises(RuntimeError):
        brain.place(torch.zeros(3, brain.n_voxels + 1))


def test_a_crop_lies_where_its_voxels_lay(brain):
    part = brain.crop((slice(1, 4), slice(0, 6), slice(2, 5)))
    assert (part.mask == brain.mask[1:4, :, 2:5]).all()
    assert part.grid.affine[:3, 3].tolist() == [1.0, 0.0, 6.0]
