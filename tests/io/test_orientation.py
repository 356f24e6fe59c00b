"""Axes that are turned without moving anything."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from dmri7t.io.images import masked_volumes
from dmri7t.io.orientation import turn_to
from dmri7t.signal.grids import Grid

AXES = [("L", "P", "S"), ("R", "A", "S"), ("P", "S", "R"), ("I", "R", "A")]


def affine_of(axes: tuple[str, str, str], tilt: float = 0.2) -> np.ndarray:
    """Affine of an oblique image with these axes."""
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    world = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (name, size) in enumerate(zip(axes, (2.0, 2.5, 3.0), strict=True)):
        row, way = world[name]
        affine[row, column] = way * size
    affine[:3, :3] = turn @ affine[:3, :3]
    return affine


@pytest.mark.parametrize("axes", AXES)
def test_turns_as_nibabel_does(axes):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(4, 5, 6)).astype(np.float32)
    image = nibabel.Nifti1Image(data, affine_of(axes))
    assert nibabel.aff2axcodes(image.affine) == axes
    turn = turn_to(Grid(data.shape, image.affine))
    wanted = image.as_reoriented(turn.ornt)
    assert nibabel.aff2axcodes(turn.grid.affine) == ("L", "P", "S")
    assert turn.grid.shape == wanted.shape
    np.testing.assert_allclose(turn.grid.affine, wanted.affine)
    np.testing.assert_array_equal(turn.volume(data), wanted.dataobj)
    mask = rng.random(data.shape) > 0.5
    (flat,) = masked_volumes([data[mask]], mask, turn)
    inside = np.where(mask, data, 0)
    np.testing.assert_array_equal(flat.reshape(turn.grid.shape, order="F"), turn.volume(inside))


def test_a_voxel_stays_where_it_is():
    grid = Grid((4, 5, 6), affine_of(("P", "S", "R")))
    turn = turn_to(grid)
    before = np.array([1, 3, 4])
    after = np.array(turn.indices(*before))
    place = [
        nibabel.affines.apply_affine(g.affine, i) for g, i in ((grid, before), (turn.grid, after))
    ]
    np.testing.assert_allclose(*place)


def test_names_of_axes_follow():
    # posterior, superior, right: the first axis becomes the second, the third the first reversed
    turn = turn_to(Grid((4, 5, 6), affine_of(("P", "S", "R"))))
    assert [turn.axis(a) for a in ("i", "i-", "j", "k", "k-")] == ["j", "j-", "k", "i-", "i"]
