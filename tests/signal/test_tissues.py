"""Tissues on a scan's grid, and metrics by tissue."""

import numpy as np
import pytest
import torch
from examples import make

from dmri7t.signal.consistency import BeforeAfter
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.spaces import MIN_DICE, dice, nearest
from dmri7t.signal.tissues import misfit, tissue_nmse, tissue_record, tissue_rows

SIZE = np.array([60.0, 70.0, 50.0])


def head(voxel, flip, tilt=0.0):
    """Labels of the examples' head on a grid of its own."""
    shape = [int(mm / voxel) for mm in SIZE]
    frame = {"shape": shape, "voxel": [voxel] * 3, "flip": flip, "tilt": tilt}
    affine = make.make_affine(frame)
    return make.tissues(make.positions(shape, affine, SIZE)).astype(np.uint8), Grid(shape, affine)


@pytest.mark.parametrize(("flip", "tilt"), [([1, 1, 1], 0), ([-1, -1, 1], 0), ([-1, 1, 1], 25)])
def test_labels_lie_where_the_head_has_them_whatever_the_axes(flip, tilt):
    fine, grid = head(1.0, [-1, 1, 1])
    coarse, other = head(2.5, flip, tilt)
    found = nearest(fine, grid, other)
    assert found.dtype == np.uint8 and found.shape == coarse.shape
    # but for voxels on the border of a tissue
    assert np.mean(found[coarse > 0] == coarse[coarse > 0]) > 0.96
    assert dice(found > 0, coarse > 0) > 0.97


def test_outside_of_the_source_there_is_nothing():
    values = np.ones((4, 4, 4), np.uint8)
    target = Grid((10, 4, 4), np.eye(4) + np.diag([0, 0, 0, 0]))
    found = nearest(values, Grid((4, 4, 4), np.eye(4)), target)
    assert found[:4].all() and not found[4:].any()


@pytest.fixture
def scan():
    """Labels before and after, FA and MD as they are in these tissues, and a scan of 4 volumes."""
    labels, grid = head(2.5, [-1, -1, 1])
    out_grid = refine(grid, 2.1)
    labels_out = nearest(labels, grid, out_grid)
    inside, inside_out = labels[labels > 0], labels_out[labels_out > 0]
    fa = torch.tensor([0, 0.1, 0.4, 0.05])
    md = torch.tensor([0, 0.9e-3, 0.8e-3, 3e-3])

    def maps(values, factor):
        at = torch.from_numpy(values.astype(int))
        return {"fa": fa[at] * factor, "md": md[at] * factor}

    return inside, inside_out, maps(inside, 1.0), maps(inside_out, 1.5)


def test_means_are_those_of_each_tissue(scan):
    nmse = {"GM": 0.1, "WM": 0.2, "CSF": 0.3}
    rows = tissue_rows(*scan, nmse, 0.0156)
    assert [row["name"] for row in rows] == ["GM", "WM", "CSF"]
    white = rows[1]
    assert white["fa_native"] == pytest.approx(0.4) and white["fa_7tlike"] == pytest.approx(0.6)
    assert white["md_native"] == pytest.approx(0.8e-3)
    assert white["volume_ml"] == pytest.approx(0.0156 * np.sum(scan[0] == 2))
    assert white["nmse"] == 0.2 and misfit(rows) == ""


def test_nmse_counts_the_voxels_of_its_tissue_alone():
    labels = np.array([1, 1, 2, 3, 0], np.uint8)
    measured = torch.tensor([[2.0, 2, 4, 10, 7]]).repeat(3, 1)
    made = measured + torch.tensor([1.0, 1, 0, 5, 100])
    found = tissue_nmse(
        labels, BeforeAfter(measured, made, lambda rows: rows), {"b0": [0], "b1000": [1, 2]}
    )
    assert found == pytest.approx({"GM": 0.25, "WM": 0.0, "CSF": 0.25})


def test_labels_of_another_order_are_found_out(scan):
    inside, inside_out, native, generated = scan
    order = np.array([0, 3, 1, 2], np.uint8)
    rows = tissue_rows(
        order[inside],
        order[inside_out],
        native,
        generated,
        dict.fromkeys(("GM", "WM", "CSF"), 0.1),
        1.0,
    )
    assert misfit(rows) == "mean diffusivity is not highest in CSF"
    record = tissue_record(0.95, MIN_DICE, lambda: rows, "fMRIPrep", "bids:fmriprep:x")
    assert record["metrics"] == []
    assert record["left_out"].startswith("No metrics by tissue: the labels of fMRIPrep do not fit")


def test_a_tissue_that_is_not_there_is_named(scan):
    rows = [row for row in tissue_rows(*scan, dict.fromkeys(("GM", "WM", "CSF"), 0.1), 1.0)]
    assert misfit(rows[:2]) == "no voxel of the scan is CSF"


def test_another_space_is_not_looked_at():
    def never():
        raise AssertionError

    record = tissue_record(MIN_DICE - 0.01, MIN_DICE, never, "fMRIPrep", "bids:fmriprep:x")
    assert record["metrics"] == [] and "overlap by 0.89" in record["left_out"]
    assert record["dice_needed"] == MIN_DICE
