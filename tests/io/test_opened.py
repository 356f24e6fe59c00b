"""Scans that are opened and read by rows."""

from __future__ import annotations

import attrs
import nibabel
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from dmri7t.errors import InputError
from dmri7t.interfaces.clean import CleanScan
from dmri7t.interfaces.prepare import PrepareScan
from dmri7t.io.opened import open_checked, open_scan
from dmri7t.io.scan import ScanFiles
from dmri7t.signal.shell import Brain


@pytest.fixture(scope="module")
def scan(make_scan, tmp_path_factory):
    return make_scan(tmp_path_factory.mktemp("in"), shape=(14, 16, 12), shells={1000: 7, 2000: 6})


def write_mask(folder, scan, values):
    path = folder / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), nibabel.load(scan.dwi).affine), path)
    return path


def test_rows_are_the_brains_voxels_in_c_order(scan):
    data = nibabel.load(scan.dwi).get_fdata(dtype=np.float32)
    with open_checked(scan) as opened:
        assert (opened.n_volumes, opened.n_b0) == (15, 2)
        assert [s.name for s in opened.shells] == ["b1000", "b2000"]
        inside = opened.brain.mask
        rows = np.moveaxis(data[inside], -1, 0)
        for shell in opened.shells:
            np.testing.assert_array_equal(opened.read(shell.indices), rows[[*shell.indices]])
        few = np.zeros_like(inside)
        few[5, 6, 7] = few[7, 6, 5] = True
        read_V = opened.read([3], Brain(few, opened.grid))[0]
        np.testing.assert_array_equal(read_V, data[[5, 7], 6, [7, 5], 3])
        np.testing.assert_allclose(opened.b0, data[..., :2].mean(-1), rtol=1e-6)
        out = np.empty(rows.shape, np.float32)
        assert opened.read_into(out) == {"nonfinite": 0, "negative": 0}
        np.testing.assert_array_equal(out, rows)


def test_axes_are_turned_for_volumes_mask_and_grid_alike(scan, tmp_path):
    image = nibabel.load(scan.dwi)
    inside = np.zeros(image.shape[:3], bool)
    inside[4:9, 5:12, 3:8] = True
    turn = io_orientation(image.affine)
    assert turn[0, 1] == -1
    with open_checked(attrs.evolve(scan, mask=write_mask(tmp_path, scan, inside))) as opened:
        straight = opened.read([4])
    files = ScanFiles(scan.dwi, scan.bval, scan.bvec, mask=tmp_path / "mask.nii.gz")
    with open_scan(files, axes=("R", "A", "S")) as opened:
        affine = image.affine @ inv_ornt_aff(turn, image.shape[:3])
        np.testing.assert_array_equal(opened.grid.affine, affine)
        np.testing.assert_array_equal(opened.brain.mask, apply_orientation(inside, turn))
        volume = np.asarray(image.dataobj[..., 4])
        np.testing.assert_array_equal(opened.volume(4), apply_orientation(volume, turn))
        assert sorted(opened.read([4])[0].tolist()) == sorted(straight[0].tolist())
        assert opened.read([4]).tolist() != straight.tolist()


def test_an_error_of_the_mask_names_its_file(scan, tmp_path):
    mask = write_mask(tmp_path, scan, np.zeros((14, 16, 12), bool))
    with (
        open_scan(ScanFiles(scan.dwi, scan.bval, scan.bvec, mask=mask)) as opened,
        pytest.raises(InputError, match=rf"^{mask}: the brain mask is empty"),
    ):
        opened.brain  # noqa: B018


@pytest.fixture
def without_brain(scan, tmp_path):
    """A scan in whose b0 there is nothing."""
    image = nibabel.load(scan.dwi)
    data = np.asarray(image.dataobj).copy()
    data[..., :2] = 0
    path = tmp_path / "sub-01_dwi.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
    return attrs.evolve(scan, dwi=path)


def test_what_users_meet_names_the_file_too(without_brain, tmp_path):
    scan = without_brain
    inputs = {"dwi": str(scan.dwi), "bval": str(scan.bval), "b0_threshold": 100.0}
    expected = rf"^{scan.dwi}: .*no brain mask can be found"
    with pytest.raises(InputError, match=expected):
        PrepareScan(bvec=str(scan.bvec), **inputs).run(cwd=tmp_path)
    with pytest.raises(InputError, match=expected):
        CleanScan(denoise=True, gibbs=False, slice_axis=2, **inputs).run(cwd=tmp_path)
    mask = write_mask(tmp_path, scan, np.ones((14, 16, 12), bool))
    with pytest.raises(InputError, match=rf"^{mask}: .*the b0 has no signal"):
        PrepareScan(bvec=str(scan.bvec), mask=str(mask), **inputs).run(cwd=tmp_path)


def test_gradients_of_another_image_are_refused(scan, make_scan, tmp_path):
    other = make_scan(tmp_path, shells={1000: 9})
    with (
        pytest.raises(InputError, match=rf"^{other.bval}: 11 entries but sub-01_dwi.* 15 volumes"),
        open_scan(ScanFiles(scan.dwi, other.bval)),
    ):
        pass
    with (
        open_scan(ScanFiles(scan.dwi, scan.bval)) as opened,
        pytest.raises(InputError, match=rf"^{scan.dwi}: has no bvec file"),
    ):
        opened.table  # noqa: B018
