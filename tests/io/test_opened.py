"""Scans that are opened and read by rows."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import attrs
import nibabel
import numpy as np
import pytest
from examples import make
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from dmri7t.errors import InputError
from dmri7t.interfaces.clean import CleanScan
from dmri7t.interfaces.prepare import PrepareScan
from dmri7t.io import images
from dmri7t.io.opened import open_checked, open_scan
from dmri7t.io.scan import ScanFiles
from dmri7t.io.source import open_dataset
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


def test_volumes_that_are_left_out_are_not_there(scan):
    data = nibabel.load(scan.dwi).get_fdata(dtype=np.float32)
    without = attrs.evolve(scan, excluded=(1, 5, -1))
    kept = [0, *range(2, 5), *range(6, 14)]
    with open_checked(without) as opened:
        assert (opened.n_volumes, opened.n_b0) == (12, 1)
        assert [len(s) for s in opened.shells] == [6, 5]
        assert np.array_equal(opened.volume(4), data[..., 6])
        rows = np.moveaxis(data[opened.brain.mask], -1, 0)
        for shell in opened.shells:
            on_disk = [kept[row] for row in shell.indices]
            measured = opened.measured(shell)
            assert np.array_equal(measured.signal_NV, rows[on_disk])
        out = np.empty((12, opened.brain.n_voxels), np.float32)
        opened.read_into(out)
        assert np.array_equal(out, rows[kept])
        directions = opened.table.directions
    with open_checked(scan) as opened:
        assert np.array_equal(opened.table.directions[kept], directions)


def test_what_a_sidecar_leaves_out_is_left_out_of_training(tmp_path):
    make.make_dataset("good/excluded_volumes", tmp_path)
    scan = open_dataset(tmp_path).by_session("01")[""]
    assert scan.excluded == (16, 17)
    with open_checked(scan) as opened:
        assert opened.n_volumes == 16 and np.linalg.norm(opened.table.directions[2:], axis=1).all()


def test_a_scan_of_several_series_is_not_opened_as_one(scan):
    with pytest.raises(InputError, match="is joined from 2 series"):
        with open_checked(attrs.evolve(scan, parts=(scan, scan))):
            pass


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


def half_arrived(monkeypatch, then=None):
    """Hold what is decompressed back after the first half, until an event is set."""
    blocks, going_on = images._blocks, threading.Event()

    def held(path):
        content = b"".join(blocks(path))
        yield content[: len(content) // 2]
        assert going_on.wait(60)
        if then is not None:
            raise then
        yield content[len(content) // 2 :]

    monkeypatch.setattr(images, "_blocks", held)
    return going_on


def test_first_volumes_are_read_while_the_last_are_decompressed(scan, monkeypatch):
    data = nibabel.load(scan.dwi).get_fdata(dtype=np.float32)
    going_on = half_arrived(monkeypatch)
    with open_scan(scan.files) as opened:
        assert np.array_equal(opened.volume(0), data[..., 0])
        mask = opened.brain.mask
        with ThreadPoolExecutor(1) as other:
            last = other.submit(opened.volume, 14)
            with pytest.raises(TimeoutError):
                last.result(0.2)
            going_on.set()
            assert np.array_equal(last.result(60), data[..., 14])
        out = np.empty((15, int(mask.sum())), np.float32)
        opened.read_into(out, threads=3)
        np.testing.assert_array_equal(out, np.moveaxis(data[mask], -1, 0))


def test_damage_at_the_end_is_told_by_who_reads_it_and_when_the_scan_is_closed(scan, monkeypatch):
    going_on = half_arrived(monkeypatch, InputError("damaged"))
    with pytest.raises(InputError, match="damaged"), open_scan(scan.files) as opened:
        opened.volume(0)
        going_on.set()
        with pytest.raises(InputError, match="damaged"):
            opened.volume(14)
        # that is there all the same
        opened.volume(1)


def test_an_image_cut_short_is_told_though_nobody_reads_its_end(scan, tmp_path):
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(gzip.compress(gzip.decompress(scan.dwi.read_bytes())[:-1000]))
    files = attrs.evolve(scan.files, dwi=cut)
    with pytest.raises(InputError, match=r"cut\.nii\.gz: the image is cut short"):
        with open_scan(files) as opened:
            opened.volume(0)


def test_who_leaves_early_waits_for_nothing(scan, monkeypatch, tmp_path):
    going_on = half_arrived(monkeypatch)
    threading.Timer(0.2, going_on.set).start()
    with pytest.raises(ZeroDivisionError), open_scan(scan.files, scratch=tmp_path) as opened:
        opened.volume(0)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_header_with_much_of_its_own_is_read_when_all_of_it_is_there(scan, tmp_path):
    image = nibabel.load(scan.dwi)
    comment = nibabel.nifti1.Nifti1Extension("comment", b"x" * 3 * images.HEADER)
    image.header.extensions.append(comment)
    nibabel.save(image, tmp_path / "long.nii.gz")
    with open_scan(attrs.evolve(scan.files, dwi=tmp_path / "long.nii.gz")) as opened:
        assert np.array_equal(opened.volume(14), np.asarray(image.dataobj[..., 14]))
