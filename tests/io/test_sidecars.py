"""What odd sidecars and headers become: valid fields, a remark, a reason to skip or to refuse."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest
from examples import make

from dmri7t.errors import InputError
from dmri7t.files import strict_json
from dmri7t.io.checks import check_lengths, check_scan
from dmri7t.io.images import frames_remark, load_image
from dmri7t.io.sidecars import valid_fields
from dmri7t.io.source import open_dataset, scan_remarks
from dmri7t.io.texts import read_json
from niflow.dmri7t import model_settings, plan_scan
from niflow.dmri7t.sidecars import describe_result


@pytest.mark.parametrize("value", ["y+", "AP", "j+", "", None, 2, ["j"]])
def test_a_direction_that_is_no_axis_is_dropped(value):
    kept, dropped = valid_fields({"PhaseEncodingDirection": value, "EchoTime": 0.09})
    assert kept == {"EchoTime": 0.09} and len(dropped) == 1


def test_a_whole_number_that_no_float_holds_is_no_number(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(f'{{"EchoTime": {5000 * "9"}, "MagneticFieldStrength": 3}}')
    assert valid_fields(read_json(path))[0] == {"MagneticFieldStrength": 3}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[0.1, NaN]", '{"a": [NaN]}'])
def test_what_is_no_number_is_dropped_and_said(make_scan, tmp_path, text):
    scan = make_scan(tmp_path)
    sidecar = json.loads(f'{{"EchoTime": {text}, "FlipAngle": 90}}')
    kept, _ = valid_fields(sidecar)
    assert kept == {"FlipAngle": 90}
    (remark,) = scan_remarks(attrs.evolve(scan, sidecar=sidecar))
    assert "EchoTime is no number" in remark
    json.loads(strict_json(sidecar), parse_constant=pytest.fail)


@pytest.mark.parametrize(("tesla", "remarks"), [(3, 0), (2.8936, 0), ("3", 0), (1.5, 1), (None, 0)])
def test_another_field_strength_is_remarked(make_scan, tmp_path, tesla, remarks):
    scan = attrs.evolve(make_scan(tmp_path), sidecar={"MagneticFieldStrength": tesla})
    assert len(scan_remarks(scan)) == remarks


def rewrite(path: Path, change, **kwargs) -> None:
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    change(image)
    nibabel.save(image, path)


def test_frames_on_opposite_sides_are_remarked(make_scan, tmp_path):
    scan = make_scan(tmp_path)
    assert not frames_remark(scan.dwi)

    def flip(image):
        image.set_qform(np.diag([-1, 1, 1, 1]) @ image.affine, code=1)
        image.set_sform(image.affine, code=1)

    rewrite(scan.dwi, flip)
    assert "mirror each other" in frames_remark(scan.dwi)
    assert "the sform was used" in scan_remarks(scan)[0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sub-01_desc-noise_dwimap.nii.gz", True),
        ("sub-01_stat-sigma_dwimap.nii", True),
        ("sub-01_noise.mif", True),
        ("sub-01_run-2_desc-noise_dwimap.nii.gz", False),
        ("sub-01_desc-denoised_dwi.nii.gz", False),
        ("sub-01_desc-noise_dwimap.json", False),
    ],
)
def test_a_noise_map_beside_a_scan_is_said_to_be_ignored(make_scan, tmp_path, name, told):
    scan = make_scan(tmp_path)
    (tmp_path / name).touch()
    remarks = scan_remarks(scan)
    assert [remark.startswith(f"{name} is not used: ") for remark in remarks] == [True] * told


def test_remarks_stand_in_every_sidecar(make_scan, tmp_path, tiny_model):
    scan = make_scan(tmp_path)

    def flip(image):
        image.set_qform(np.diag([-1, 1, 1, 1]) @ image.affine, code=1)
        image.set_sform(image.affine, code=1)

    rewrite(scan.dwi, flip)
    sidecar = {
        "MagneticFieldStrength": 1.5,
        "PhaseEncodingDirection": "AP",
        "Interpolation2D": True,
    }
    (tmp_path / "sub-01_desc-noise_dwimap.nii.gz").touch()
    settings, model = model_settings(str(tiny_model))
    plan = plan_scan(attrs.evolve(scan, sidecar=sidecar, kind="raw"), settings)
    said = describe_result(plan, model)["Remarks"]
    assert list(plan.remarks) == said and len(said) == 5
    for words in ("1.5 T", "sform", "no axis", "interpolated it (Interpolation2D", "noise"):
        assert sum(words in remark for remark in said) == 1
    make.make_dataset("good/hcp", tmp_path / "hcp")
    (tmp_path / "hcp/100307/T1w/Diffusion/grad_dev.nii.gz").touch()
    scan = open_dataset(tmp_path / "hcp").by_session("100307")["3T"]
    (said,) = describe_result(plan_scan(scan, settings), model)["Remarks"]
    assert said.startswith("grad_dev.nii.gz is not used")


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e3), ("meter", 1e-3)])
def test_other_units_are_converted(make_scan, tmp_path, unit, factor):
    scan = make_scan(tmp_path)
    affine = nibabel.load(scan.dwi).affine

    def scale(image):
        image.set_sform(np.diag([factor, factor, factor, 1]) @ image.affine, code=1)
        image.set_qform(image.get_sform(), code=1)
        image.header.set_xyzt_units(unit, "sec")

    rewrite(scan.dwi, scale)
    np.testing.assert_allclose(load_image(scan.dwi).affine, affine, rtol=1e-5)
    assert load_image(scan.dwi).shape[3] == 18
    check_scan(scan)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1), ("mm", 1e3), ("mm", 1e-3)])
def test_units_that_cannot_be_are_refused(make_scan, tmp_path, unit, factor):
    scan = make_scan(tmp_path)

    def scale(image):
        image.set_sform(np.diag([factor, factor, factor, 1]) @ image.affine, code=1)
        image.set_qform(image.get_sform(), code=1)
        image.header.set_xyzt_units(unit, "sec")

    rewrite(scan.dwi, scale)
    with pytest.raises(InputError, match="xyzt_units"):
        check_scan(scan)


@pytest.mark.parametrize("offset", [0, 100, 348])
def test_voxels_within_the_header_are_refused(make_scan, tmp_path, offset):
    scan = make_scan(tmp_path)
    plain = tmp_path / "plain_dwi.nii"
    nibabel.save(nibabel.load(scan.dwi), plain)
    content = bytearray(plain.read_bytes())
    content[108:112] = np.float32(offset).tobytes()
    plain.write_bytes(content)
    with pytest.raises(InputError, match="vox_offset|not a readable"):
        check_scan(attrs.evolve(scan, dwi=plain))


def test_lengths_that_differ_are_refused(make_scan, tmp_path):
    scan = make_scan(tmp_path)
    vectors = np.loadtxt(scan.bvec)
    np.savetxt(scan.bvec, 3 * vectors, fmt="%.6f")
    check_scan(scan)  # all of one length
    vectors[:, 5] = 10
    np.savetxt(scan.bvec, vectors, fmt="%.6f")
    with pytest.raises(InputError, match="different lengths .*in volume 5"):
        check_scan(scan)


@pytest.mark.parametrize("digits", [2, 3, 6])
def test_vectors_of_few_digits_are_equally_long(digits):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 3))
    vectors = np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), digits)
    check_lengths(Path("a.bvec"), np.full(60, 1000.0), vectors)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_lengths_that_say_the_b_value_are_refused(share):
    vectors = np.random.default_rng(0).normal(size=(30, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[10:20] *= np.sqrt(share)
    with pytest.raises(InputError, match="multiply each b-value by its square"):
        check_lengths(Path("a.bvec"), np.full(30, 2000.0), vectors)
    # where b-values say it themselves lengths may, too
    check_lengths(Path("a.bvec"), np.r_[[2000.0] * 10, [2000 * share] * 10, [2000.0] * 10], vectors)
