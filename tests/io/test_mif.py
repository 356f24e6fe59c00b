"""Images of MRtrix are read as MRtrix writes them."""

from __future__ import annotations

import gzip
import shutil
import subprocess

import nibabel
import numpy as np
import pytest
from examples import make

from dmri7t.errors import InputError
from dmri7t.io.checks import check_scan
from dmri7t.io.gradients import read_bvals, read_bvecs, read_mrtrix, read_table
from dmri7t.io.images import load_image, open_volumes, repetition_time
from dmri7t.io.mif import read_mif
from dmri7t.io.opened import open_scan
from dmri7t.io.search import Query
from dmri7t.io.source import open_source


@pytest.fixture
def pair(tmp_path):
    """The same scan as MRtrix's image and as NIfTI."""
    for layout, name in (("mrtrix", "m"), ("raw", "n")):
        ending = {"ending": ".mif"} if layout == "mrtrix" else {}
        scan = {"name": name, "layout": layout, "shells": {"1000": 7}, "tilt": 12, **ending}
        make.write_scan(tmp_path, scan, seed=3)
    return tmp_path / "m.mif", tmp_path / "n.nii.gz"


def test_values_grid_and_gradients_are_those_of_nifti(pair, tmp_path):
    mif, nifti = load_image(pair[0]), load_image(pair[1])
    back = nibabel.as_closest_canonical(nifti)
    assert np.allclose(mif.affine, back.affine, atol=1e-4)
    assert np.array_equal(np.asarray(mif.dataobj), back.get_fdata(dtype=np.float32))
    volumes = open_volumes(pair[0], tmp_path)
    assert np.array_equal(volumes.dataobj[..., 4], back.dataobj[..., 4].astype(np.float32))
    assert repetition_time(mif) == 5.0
    stem = pair[1].with_name("n")
    expected = read_table(stem.with_suffix(".bval"), stem.with_suffix(".bvec"), nifti.affine)
    for grad_b in (None, pair[0]):
        table = read_table(pair[0], pair[0], mif.affine, grad_b)
        assert np.array_equal(table.bvals, expected.bvals)
        assert np.allclose(table.directions, expected.directions, atol=1e-5)


def test_compressed_is_the_same(pair, tmp_path):
    packed = tmp_path / "p.mif.gz"
    packed.write_bytes(gzip.compress(pair[0].read_bytes()))
    values = np.asarray(load_image(pair[0]).dataobj)
    assert np.array_equal(np.asarray(load_image(packed).dataobj), values)
    (tmp_path / "scratch").mkdir()
    assert np.array_equal(
        open_volumes(packed, tmp_path / "scratch").dataobj[..., 2], values[..., 2]
    )
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"p\.mif\.gz: cannot be decompressed"):
        open_volumes(packed, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"mrtrix image", b"mrtrix tracks", "it does not begin with 'mrtrix image'"),
        (b"Float32LE", b"CFloat32LE", "values of type CFloat32LE"),
        (b"\nEND\n", b"\nEMD\n", "its header has no end"),
        (b"dim: 24,28,20", b"dim: 24,28", "do not fit"),
        (b"layout: ", b"loyaut: ", "its header has no layout"),
        (b"file: . ", b"file: x ", "its values are in a file of their own"),
    ],
)
def test_what_cannot_be_read_is_named(pair, old, new, reason):
    content = pair[0].read_bytes()
    assert old in content
    pair[0].write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match=r"m\.mif: not a readable image of MRtrix") as error:
        load_image(pair[0])
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_what_is_cut_short_or_has_other_gradients_is_named(pair, tmp_path):
    content = pair[0].read_bytes()
    pair[0].write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"m\.mif: the image is cut short"):
        open_volumes(pair[0], tmp_path)
    lines = content.split(b"\n")
    scheme = next(i for i, line in enumerate(lines) if line.startswith(b"dw_scheme"))
    lines[scheme] = lines[scheme].replace(b"dw_scheme", b"no_scheme")
    pair[0].write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match="dw_scheme in its header has 8 rows of 4 numbers, but"):
        read_bvals(pair[0])


def test_a_scan_of_a_data_set_is_checked_and_opened(tmp_path):
    make.make_dataset("good/mrtrix", tmp_path)
    (candidate,) = open_source(tmp_path).find(Query(["02"]))
    scan = candidate.scan
    check_scan(scan)
    assert scan.bval == scan.bvec == scan.grad_b == scan.dwi
    with open_scan(scan.files) as opened:
        assert [s.name for s in opened.shells] == ["b1000"] and opened.n_b0 == 2
        assert 0.15 < opened.brain.mask.mean() < 0.6


@pytest.mark.parametrize("strides", ["1,2,3,4", "-2,3,1,4", "4,-1,2,3"])
@pytest.mark.parametrize("datatype", ["float32", "uint16be", "int16", "float64be"])
def test_as_mrtrix_writes_them(pair, tmp_path, strides, datatype):
    if not shutil.which("mrconvert"):
        pytest.skip("MRtrix is not installed")
    stem = pair[1].with_name("n")
    written, plain = tmp_path / "w.mif", tmp_path / "back.nii"
    gradients = ["-fslgrad", f"{stem}.bvec", f"{stem}.bval"]
    options = ["-strides", strides, "-datatype", datatype, "-quiet"]
    subprocess.run(["mrconvert", pair[1], *gradients, *options, written], check=True)
    scheme = ["-export_grad_mrtrix", tmp_path / "back.b"]
    asked = ["-strides", "1,2,3,4", "-datatype", "float32le", "-quiet"]
    subprocess.run(["mrconvert", written, *scheme, *asked, plain], check=True)
    theirs, ours = nibabel.load(plain), load_image(written)
    assert np.allclose(ours.affine, theirs.affine, atol=1e-5)
    assert np.array_equal(np.asarray(ours.dataobj), theirs.get_fdata(dtype=np.float32))
    b_theirs = read_mrtrix(tmp_path / "back.b", 9)
    assert all(np.allclose(a, b) for a, b in zip(read_mrtrix(written, 9), b_theirs, strict=True))


def test_scaled_values(pair):
    content = pair[0].read_bytes()
    fitting = content.replace(b"vox: 2.5,2.5,2.5,5\n", b"vox: 2.5,2.5,2.5,5\nscaling: 3,0.5\n")
    offset = read_mif(pair[0]).offset
    header, _, rest = fitting.partition(b"\nfile: . ")
    line = f"\nfile: . {offset + 15}\nEND\n".encode()
    values = content[offset:]
    pair[0].write_bytes((header + line).ljust(offset + 15, b"\0") + values)
    plain = np.frombuffer(values, "<f4").astype(np.float32)
    scaled = np.asarray(load_image(pair[0]).dataobj)
    assert np.allclose(np.sort(scaled.ravel()), np.sort(plain * 0.5 + 3))


def test_vectors_of_fsl_fit_the_image(pair):
    image = load_image(pair[0])
    table = read_table(pair[0], pair[0], image.affine)
    assert np.allclose(read_bvecs(pair[0]), table.to_fsl(image.affine))
