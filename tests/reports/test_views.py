"""Slices lie where they are said to lie, whatever the affine."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from dmri7t.errors import InputError
from dmri7t.reports.maps import MapFile
from dmri7t.reports.views import (
    AXES,
    Bridge,
    View,
    choose_slices,
    pixel_lookup,
    read_values,
)

KINDS = ("RAS", "LPS", "PSR", "oblique")
SCALE = 4.0


def pictures(phantom_side, kind):
    """For each plane: world coordinates of the pixels before and after; nan outside the mask."""
    sides = [phantom_side("in", 2.5, kind), phantom_side("out", 2.1, kind)]
    views = [View.open(side.mask) for side in sides]
    for plane, slices in choose_slices(*views).items():
        seen = []
        for side, view, index in zip(sides, views, (slices.before, slices.after), strict=True):
            lookup = pixel_lookup(view, slices, index, SCALE)
            at = side.places_V3[np.maximum(lookup, 0)]
            seen.append(np.where(lookup[..., None] >= 0, at @ view.axes_33, np.nan))
        yield plane, slices, *seen


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_show_the_same_place(phantom_side, kind):
    for plane, slices, before, after in pictures(phantom_side, kind):
        both = np.isfinite(before).all(-1) & np.isfinite(after).all(-1)
        assert both.mean() > 0.3
        apart = np.abs(before - after)[both]
        # nearest voxels: at most half a voxel of each grid along every axis
        assert apart.max() <= 0.5 * (2.5 + 2.1) + 1e-3
        through = AXES[plane][2]
        assert np.unique(apart[:, through].round(3)).size == 1
        assert apart[0, through] == pytest.approx(
            abs(slices.position_before - slices.position_after), abs=1e-3
        )
        assert apart[0, through] < 0.25 * 2.1  # slices were found that lie close together


@pytest.mark.parametrize("kind", KINDS)
def test_radiological_convention(phantom_side, kind):
    """Right is on the left, anterior and superior on top; sagittal: anterior on the left."""
    for plane, _, _, after in pictures(phantom_side, kind):
        across, up, _ = AXES[plane]
        rows, columns = np.nonzero(np.isfinite(after).all(-1))
        horizontal, vertical = after[rows, columns, across], after[rows, columns, up]
        assert np.corrcoef(columns, horizontal)[0, 1] < -0.99
        assert np.corrcoef(rows, vertical)[0, 1] < -0.99


@pytest.mark.parametrize("kind", KINDS)
def test_axes_are_closest_to_the_scanners(phantom_side, kind):
    view = View.open(phantom_side("in", 2.5, kind).mask)
    assert (np.diag(view.axes_33) > 0.9).all()
    assert view.sizes_3 == pytest.approx([2.5] * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_bridge_reproduces_linear_fields(phantom_side, kind):
    sides = [phantom_side("in", 2.5, kind), phantom_side("out", 2.1, kind)]
    before, after = (View.open(side.mask) for side in sides)
    fields = [side.places_V3 @ np.array([1.0, -2.0, 0.5]) + 7 for side in sides]
    for slices in choose_slices(before, after).values():
        bridge = Bridge.build(before, after, slices)
        whole = bridge.weights_8P.astype(bool).all(0)
        assert whole.mean() > 0.5
        error = bridge(fields[0]) - fields[1][bridge.voxels]
        assert np.abs(error[whole]).max() < 1e-3
        assert np.abs(error[bridge.covered]).max() < 9  # at the rim: the nearest there is
        pairs = bridge(np.stack([fields[0], -fields[0]], 1))
        assert np.allclose(pairs[:, 0], -pairs[:, 1])


def test_every_kind_of_file_reads_the_same(phantom_side, tmp_path):
    side = phantom_side("in", 2.5)
    view = View.open(side.mask)
    values = np.arange(len(side.places_V3), dtype=np.float32)
    volume = np.zeros(view.mask_XYZ.shape, np.float32)
    volume[view.mask_XYZ] = values
    affine = nibabel.load(side.mask).affine
    four = np.stack([volume * 0, volume], -1)
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "three.nii")
    nibabel.save(nibabel.Nifti1Image(four, affine), tmp_path / "four.nii.gz")
    np.save(tmp_path / "rows.npy", np.stack([values * 0, values]))
    for file in (
        MapFile(tmp_path / "three.nii"),
        MapFile(tmp_path / "four.nii.gz", row=1),
        MapFile(tmp_path / "rows.npy", row=1),
    ):
        assert (read_values(file, view) == values).all()
    assert read_values(MapFile(side.tensor, "direction"), view).shape == (len(values), 3)
    clean = 3 + side.places_V3[:, 2] / 40
    raised = read_values(MapFile(side.features, "rish", 2), view)
    assert raised == pytest.approx(clean + 0.5, rel=1e-5)
    rish = read_values(MapFile(side.features, "rish", 2, "noise"), view)
    assert rish == pytest.approx(clean, rel=1e-5)
    mean = read_values(MapFile(tmp_path / "rows.npy", row=(0, 1, 1)), view)
    assert mean == pytest.approx(values * 2 / 3, rel=1e-5)


def test_maps_that_do_not_fit(phantom_side, tmp_path):
    side = phantom_side("in", 2.5)
    view = View.open(side.mask)
    np.save(tmp_path / "short.npy", np.zeros(5))
    with pytest.raises(InputError, match="short.npy: 5 values"):
        read_values(MapFile(tmp_path / "short.npy"), view)
    with pytest.raises(InputError, match="its mask has"):
        read_values(MapFile(phantom_side("out", 2.1).b0), view)
    with pytest.raises(InputError, match="do not share their axes"):
        choose_slices(view, View.open(phantom_side("out", 2.1, "oblique").mask))
    empty = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4))
    nibabel.save(empty, tmp_path / "empty.nii")
    with pytest.raises(InputError, match="mask is empty"):
        View.open(tmp_path / "empty.nii")
