"""Values that no scanner gives: whole volumes that are lost, numbers that overflow later."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from dmri7t.errors import InputError
from dmri7t.interfaces.prepare import PrepareScan


def prepare(scan, folder, change):
    """Run the stage on the scan with its values changed; what it checked."""
    image = nibabel.load(scan.dwi)
    data = np.asarray(image.dataobj).copy()
    change(data)
    nibabel.save(nibabel.Nifti1Image(data, image.affine), scan.dwi)
    folder.mkdir()
    stage = PrepareScan(dwi=scan.dwi, bval=scan.bval, bvec=scan.bvec, b0_threshold=100.0)
    result = stage.run(cwd=str(folder))
    with open(result.outputs.checks) as file:
        return np.load(result.outputs.dwi), json.load(file)


@pytest.mark.parametrize("row", [1, 2, 17])
@pytest.mark.parametrize("value", [0, np.nan, np.inf, -5, 7, 1e35])
def test_a_volume_that_is_lost_is_refused_by_name(make_scan, tmp_path, row, value):
    def lose(data):
        data[..., row] = value

    with pytest.raises(InputError, match=rf"no signal in the brain in volume {row} \(b = "):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", lose)


def test_a_volume_that_is_mostly_lost_is_refused_too(make_scan, tmp_path):
    def lose(data):
        data[..., 4] *= 0.02
        data[:, :14, :, 9] = 0

    with pytest.raises(InputError, match=r"volume 4 \(b = 1000\), 9 \(b = 1000\)"):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", lose)


@pytest.mark.parametrize(("row", "factor"), [(2, 10), (17, 4)])
def test_a_volume_of_another_scale_is_refused_by_name(make_scan, tmp_path, row, factor):
    def brighten(data):
        data[..., row] *= factor

    with pytest.raises(InputError, match=rf"is volume {row} \(b = 1000\), counted from 0"):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", brighten)


def test_b_values_in_another_order_than_the_volumes_are_refused(make_scan, tmp_path):
    def turn_round(data):
        data[:] = data[..., ::-1].copy()

    with pytest.raises(InputError, match="another order than the volumes"):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", turn_round)


def test_what_is_no_magnitude_is_refused(make_scan, tmp_path):
    def turn(data):
        data[:] = data * np.sign(np.random.default_rng(0).uniform(-1, 1, data.shape))
        data[..., :2] = np.abs(data[..., :2])

    with pytest.raises(InputError, match="below zero as of a phase"):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", turn)


def test_integers_of_another_byte_order_are_refused(make_scan, tmp_path):
    scan = make_scan(tmp_path / "in")
    image = nibabel.load(scan.dwi)
    values = np.round(np.asarray(image.dataobj)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, image.affine), scan.dwi)
    prepare(scan, tmp_path / "right", lambda data: None)
    nibabel.save(nibabel.Nifti1Image(values.byteswap(), image.affine), scan.dwi)
    with pytest.raises(InputError, match=r"dwi\.nii\.gz: the bytes of its numbers"):
        prepare(scan, tmp_path / "wrong", lambda data: None)


def test_volumes_are_named_as_in_the_images_that_the_user_has(make_scan, tmp_path):
    scan = make_scan(tmp_path / "in")
    image = nibabel.load(scan.dwi)
    data = np.asarray(image.dataobj).copy()
    data[..., 5] = 0
    nibabel.save(nibabel.Nifti1Image(data, image.affine), scan.dwi)
    n = image.shape[3]
    parts = [("/data/one_dwi.nii.gz", [0, 3]), ("/data/two_dwi.nii.gz", list(range(7, n + 5)))]
    files = {"dwi": scan.dwi, "bval": scan.bval, "bvec": scan.bvec}
    stage = PrepareScan(**files, b0_threshold=100.0, parts=parts)
    with pytest.raises(InputError, match=r"^/data/one_dwi.nii.gz: .* 10 \(b = 1000\) of two_dwi"):
        stage.run(cwd=str(tmp_path))


@pytest.mark.parametrize("value", [1e20, 3e38, np.inf, np.nan])
def test_a_voxel_that_would_overflow_is_repaired_and_counted(make_scan, tmp_path, value):
    def spoil(data):
        data[11, 13, 10, 5] = value

    dwi_NV, checks = prepare(make_scan(tmp_path / "in"), tmp_path / "run", spoil)
    assert checks["nonfinite"] == 1 and dwi_NV.max() < 1e4


@pytest.mark.parametrize("factor", [1e32, 1e-25])
def test_an_image_that_cannot_be_calculated_with_is_refused(make_scan, tmp_path, factor):
    def scale(data):
        data *= np.float32(factor)

    with pytest.raises(InputError, match=str(tmp_path)):
        prepare(make_scan(tmp_path / "in"), tmp_path / "run", scale)
