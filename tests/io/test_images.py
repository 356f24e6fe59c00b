"""Images and arrays on disk: exact, whole, or not there."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
import torch

from dmri7t.errors import Dmri7tError, InputError
from dmri7t.files import scratch_folder
from dmri7t.io.arrays import create_array, load_meta, load_tensors, open_array, save_tensors
from dmri7t.io.images import (
    frames_remark,
    load_image,
    masked_volumes,
    open_volumes,
    repetition_time,
    write_volumes,
)
from dmri7t.io.maps import load_mask, save_map
from dmri7t.signal.grids import Grid

SHAPE = (7, 6, 5)
MASK = np.random.default_rng(0).random(SHAPE) > 0.4
AFFINE = np.array([[-1.0, 0.1, 0, 5], [0.1, 1.05, 0, -6], [0, 0, 1.1, 7], [0, 0, 0, 1]])


def values(n=3):
    return np.random.default_rng(1).random((n, int(MASK.sum())), dtype=np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_masked_scan_goes_out_and_comes_back(tmp_path, threads):
    path = tmp_path / "new" / "a_dwi.nii.gz"
    rows = values()
    write_volumes(path, masked_volumes(rows, MASK), (*SHAPE, 3), AFFINE, threads=threads)
    image = nibabel.load(path)
    data = image.get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(data[MASK].T, rows)
    assert not data[~MASK].any()
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    assert image.header.get_xyzt_units() == ("mm", "sec")
    # another reader than nibabel: gzip of the standard library, header by hand
    raw = gzip.decompress(path.read_bytes())
    assert struct.unpack("<i", raw[:4])[0] == 348 and raw[344:348] == b"n+1\0"
    assert len(raw) == 352 + data.size * 4


def test_large_image_survives_the_threads(tmp_path):
    shape = (64, 64, 40)
    rng = np.random.default_rng(2)
    volumes = [rng.random(shape, dtype=np.float32) for _ in range(4)]
    write_volumes(tmp_path / "a.nii.gz", volumes, (*shape, 4), np.eye(4), threads=2)
    data = nibabel.load(tmp_path / "a.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(data, np.stack(volumes, -1))


@pytest.mark.parametrize("trouble", ["nan", "too few", "wrong size", "reader fails"])
def test_nothing_is_left_of_a_failure(tmp_path, trouble):
    def volumes():
        yield np.zeros(SHAPE, np.float32)
        if trouble == "nan":
            yield np.full(SHAPE, np.nan, np.float32)
        if trouble == "wrong size":
            yield np.zeros((3, 3, 3), np.float32)
        if trouble == "reader fails":
            raise OSError("disk")

    with pytest.raises((Dmri7tError, OSError)):
        write_volumes(tmp_path / "a.nii.gz", volumes(), (*SHAPE, 2), AFFINE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.dtype(">f4"), np.float64])
def test_volumes_are_read_one_by_one(tmp_path, ending, dtype):
    data = np.random.default_rng(3).integers(0, 900, (*SHAPE, 4)).astype(dtype)
    image = nibabel.Nifti1Image(data, AFFINE)
    if dtype == np.int16:
        image.header.set_slope_inter(0.5, 2)
    path = tmp_path / f"a{ending}"
    nibabel.save(image, path)
    expected = nibabel.load(path).get_fdata()
    with scratch_folder(tmp_path) as scratch:
        opened = open_volumes(path, scratch)
        np.testing.assert_allclose(opened.dataobj[..., 2], expected[..., 2])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_cut_image_is_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    rng = np.random.default_rng(4)
    nibabel.save(nibabel.Nifti1Image(rng.random((20, 20, 20, 4)), AFFINE), path)
    path.write_bytes(path.read_bytes()[:90_000])
    with scratch_folder(tmp_path) as scratch, pytest.raises(InputError, match=f"a{ending}.*cut"):
        open_volumes(path, scratch)


def test_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.nii.gz"
    noise = np.random.default_rng(5).random((20, 20, 20, 4))
    nibabel.save(nibabel.Nifti1Image(noise, AFFINE), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with scratch_folder(tmp_path) as scratch, pytest.raises(InputError, match="damaged"):
        open_volumes(path, scratch)


def test_maps_keep_grid_and_kind(tmp_path):
    grid = Grid(SHAPE, AFFINE)
    save_map(tmp_path / "m.nii", MASK, grid)
    mask, found = load_mask(tmp_path / "m.nii")
    assert mask.dtype == bool and (mask == MASK).all()
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert nibabel.load(tmp_path / "m.nii").get_data_dtype() == np.uint8


def test_arrays_are_mapped_and_cannot_be_spoilt(tmp_path):
    array = create_array(tmp_path / "a.npy", (3, 4))
    array[:] = 5
    array.flush()
    opened = open_array(tmp_path / "a.npy")
    opened[0, 0] = -1
    assert open_array(tmp_path / "a.npy")[0, 0] == 5
    assert isinstance(opened, np.memmap)


def test_tensors_carry_their_record(tmp_path):
    path = tmp_path / "t.safetensors"
    record = {"bval": 1000.5, "gain": [1.0, 0.5], "name": "b1000"}
    save_tensors(path, {"x": torch.arange(6.0).reshape(2, 3).T}, record)
    tensors, meta = load_tensors(path)
    assert meta == record == load_meta(path)
    assert tensors["x"].shape == (3, 2) and tensors["x"][1, 1] == 4


def test_header_keeps_the_time_between_volumes(tmp_path):
    volumes = [np.ones(SHAPE, np.float32)] * 2
    write_volumes(tmp_path / "a.nii.gz", volumes, (*SHAPE, 2), AFFINE, repetition_time=7.2)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert repetition_time(image) == pytest.approx(7.2)
    image.header.set_xyzt_units("mm", "msec")
    assert repetition_time(image) == pytest.approx(0.0072)
    assert repetition_time(nibabel.Nifti1Image(np.ones(SHAPE), AFFINE)) == 0


@pytest.mark.parametrize(
    "content", [b"", b"not gzip at all", gzip.compress(b"not NIfTI" * 99, mtime=0)]
)
def test_what_is_no_image_is_told(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    with scratch_folder(tmp_path) as scratch, pytest.raises(InputError, match=r"a\.nii\.gz: "):
        open_volumes(tmp_path / "a.nii.gz", scratch)


def test_full_disk_is_not_taken_for_a_damaged_image(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 20, 20, 4)), AFFINE), tmp_path / "full.gz.nii.gz")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "full.gz.nii").symlink_to("/dev/full")
    with pytest.raises(Dmri7tError, match="cannot be written") as caught:
        open_volumes(tmp_path / "full.gz.nii.gz", tmp_path / "scratch")
    assert "damaged" not in str(caught.value)


def odd_header(path, **fields):
    """A 4D image whose header holds what it should not."""
    image = nibabel.Nifti1Image(np.ones((9, 9, 9, 2), np.float32), np.diag([-2.0, 2, 2, 1]))
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(("code", "units"), [(7, "unknown"), (2 + 56, "mm"), (255, "unknown")])
def test_units_that_nobody_knows_are_as_good_as_none(tmp_path, code, units):
    image = load_image(odd_header(tmp_path / "a.nii", xyzt_units=code))
    assert image.header.get_xyzt_units()[0] == units
    np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), 2)


def test_voxels_without_a_size_are_refused_unless_an_sform_has_it(tmp_path):
    none = [-1, 2, 0, 2, 1, 0, 0, 0]
    path = odd_header(tmp_path / "a.nii", pixdim=none, sform_code=0, qform_code=1)
    with pytest.raises(InputError, match=r"a\.nii: voxels of 2 x 0 x 2 mm by its header"):
        load_image(path)
    assert np.abs(load_image(odd_header(tmp_path / "b.nii", pixdim=none)).affine[1, 1]) == 2


@pytest.mark.parametrize("value", [-5.0, np.nan, np.inf, 0.0])
def test_a_repetition_time_that_is_no_time_is_none(tmp_path, value):
    path = odd_header(tmp_path / "a.nii", pixdim=[-1, 2, 2, 2, value, 0, 0, 0])
    assert repetition_time(load_image(path)) == 0


def test_a_quaternion_that_is_no_rotation_is_told(tmp_path):
    turned = {f"quatern_{axis}": 0.9 for axis in "bcd"}
    path = odd_header(tmp_path / "a.nii", qform_code=1, **turned)
    assert "no rotation; the sform was used" in frames_remark(path)


def test_voxel_sizes_that_differ_from_the_sform_are_told(tmp_path):
    path = odd_header(tmp_path / "a.nii", pixdim=[-1, 2.5, 2, 2, 1, 0, 0, 0])
    assert "voxels of 2.5 x 2 x 2 mm and an sform of others" in frames_remark(path)
    assert not frames_remark(odd_header(tmp_path / "b.nii"))
    assert not frames_remark(odd_header(tmp_path / "c.nii", sform_code=0, qform_code=1))
