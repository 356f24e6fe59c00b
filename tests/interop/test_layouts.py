"""Both layouts hold the same scan; QSIPrep's has its names, its axes, and the truth about both."""

from __future__ import annotations

import json

import nibabel
import numpy as np

from dmri7t.io.dataset import validate_dataset


def test_same_scan_in_the_same_place(written):
    images = {layout: nibabel.load(w.dwi) for layout, w in written.items()}
    assert nibabel.aff2axcodes(images["bids"].affine) == ("R", "A", "S")
    assert nibabel.aff2axcodes(images["qsiprep"].affine) == ("L", "P", "S")
    turned = images["bids"].as_reoriented([[0, -1], [1, -1], [2, 1]])
    np.testing.assert_allclose(turned.affine, images["qsiprep"].affine, atol=1e-4)
    np.testing.assert_array_equal(turned.dataobj, images["qsiprep"].dataobj)
    for kind in ("mask", "fa"):
        before, after = (nibabel.load(getattr(w, kind)) for w in written.values())
        turned = before.as_reoriented([[0, -1], [1, -1], [2, 1]])
        np.testing.assert_array_equal(turned.dataobj, after.dataobj)
        np.testing.assert_allclose(after.affine, images["qsiprep"].affine, atol=1e-4)


def test_reference_is_the_mean_b0(written):
    layout = written["qsiprep"]
    reference = layout.mask.with_name(layout.mask.name.replace("desc-brain_mask", "dwiref"))
    image, dwi = nibabel.load(reference), nibabel.load(layout.dwi)
    np.testing.assert_allclose(image.affine, dwi.affine)
    bvals = np.loadtxt(layout.beside(".bval"))
    mean = dwi.get_fdata()[..., bvals < 100].mean(-1)
    off = np.abs(image.get_fdata() - mean)
    # each volume is kept positive by itself: in a few voxels of the rim the means may differ
    assert np.percentile(off, 99) < 1e-3 and off.max() < 0.03 * mean.max()
    assert mean.max() > 500


def test_sidecars_say_what_is_true(written):
    said = {layout: json.loads(w.beside(".json").read_text()) for layout, w in written.items()}
    for record in said.values():
        assert record["Synthetic"] is True and record["SoftwareName"] == "dmri7t"
        assert "SliceTiming" not in record
    assert "SpatialReference" not in said["bids"]
    source = written["qsiprep"].source
    assert said["qsiprep"]["SpatialReference"].endswith(f"/{source.name}")
    assert "neither" in said["qsiprep"]["SpaceDescription"].split()
    # the second axis was turned round, and with it what the fields say of it
    assert said["bids"]["PhaseEncodingDirection"] == "j-"
    assert said["qsiprep"]["PhaseEncodingDirection"] == "j"
    for layout in written.values():
        maker = json.loads((layout.root / "dataset_description.json").read_text())["GeneratedBy"]
        assert [m["Name"] for m in maker] == ["dmri7t"]


def test_validator_finds_no_error(result):
    validation = validate_dataset(result.root)
    assert validation.remark == "no errors", validation.errors
