"""Both layouts hold the same scan; QSIPrep's has its names, its axes, and the truth about both."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dmri7t.io.dataset import validate_dataset
from dmri7t.io.derivatives import outputs_of
from interop.conftest import STEM, program


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
        assert "SliceTiming" not in record and record["SkullStripped"] is True
    source = written["qsiprep"].source
    assert said["bids"]["SpatialReference"].endswith(f"/{written['bids'].source.name}")
    assert said["qsiprep"]["SpatialReference"].endswith(f"/{source.name}")
    assert "neither" in said["qsiprep"]["SpaceDescription"].split()
    # the second axis was turned round, and with it what the fields say of it
    assert said["bids"]["PhaseEncodingDirection"] == "j-"
    assert said["qsiprep"]["PhaseEncodingDirection"] == "j"
    for layout in written.values():
        maker = json.loads((layout.root / "dataset_description.json").read_text())["GeneratedBy"]
        assert [m["Name"] for m in maker] == ["dmri7t"]


def test_every_file_says_what_it_is(result, request):
    """Every image, and the table; in words, its unit and its space, as strict JSON."""
    layout = request.node.callspec.params["result"]
    known = {
        key: (row.qsiprep if layout == "qsiprep" and row.qsiprep else row.suffix, row)
        for key, row in outputs_of(layout).items()
    }
    files = [p for p in (result.root / "sub-01").rglob("*") if p.name.endswith((".gz", ".tsv"))]
    found = {}
    for path in files:
        sidecar = path.with_name(path.name.removesuffix(".nii.gz").removesuffix(".tsv") + ".json")
        said = json.loads(sidecar.read_text(), parse_constant=pytest.fail)
        (key,) = [key for key, (suffix, _) in known.items() if path.name.endswith(suffix)]
        found[key] = said
        described = known["quality_json" if path.suffix == ".tsv" else key][1].describe()
        assert said["Description"].startswith(described["Description"])
        assert said.get("Units") == described.get("Units")
        assert said["SpatialReference"] == said["Sources"][0]
        assert "ModelTraining" not in said and len(said["SettingsSHA256"]) == 64
        of_input = key in ("mask", "dwiref") or "native" in key
        assert said["Synthetic"] != of_input and ("ModelName" in said) != of_input
        if not of_input:
            model = result.root / said["ModelDescription"].removeprefix("bids::")
            assert json.loads(model.read_text())["SHA256"] == said["ModelSHA256"]
        if key != "mask" and path.suffix == ".gz":
            assert said["SkullStripped"] is True
    # the tiny model is not calibrated, and one sample has no spread
    unwritten = {key for key in known if "uncertainty" in key} | {"quality_json", "settings"}
    assert set(found) == set(known) - unwritten
    units = {key: said.get("Units") for key, said in found.items()}
    assert units["dwi"] == "arbitrary" and units["mask"] is None and units["fa"] == "unitless"
    assert units["md"] == units["md_native"] == "mm^2/s"


def test_values_are_in_the_units_that_sidecars_say(result):
    """Water in the phantom diffuses at 0.3 to 1.7 um^2/ms; the energy of S/S0 is below 4 pi."""
    for side in ("native", "7Tlike"):
        names = ("model-tensor_param-fa", "model-tensor_param-md", "model-sh_param-rish0")
        fa, md, rish = (
            nibabel.load(
                result.fa.with_name(f"{STEM}_{name}_desc-{side}_dwimap.nii.gz")
            ).get_fdata()
            for name in names
        )
        inside = md > 0
        assert 0.4e-3 < np.median(md[inside]) < 1.2e-3 and 0 <= fa.min() and fa.max() <= 1
        assert 0 < np.median(rish[inside]) < 4 * np.pi


def validated(root):
    """Severity, code, key and file of all that the validator says."""
    command = [program("bids-validator-deno", "the BIDS validator"), "--format", "json", root]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return {
        (issue["severity"], issue["code"], issue.get("subCode"), Path(issue["location"]).name)
        for issue in json.loads(said)["issues"]["issues"]
    }


def test_validator_finds_nothing(result):
    validation = validate_dataset(result.root)
    assert validation.remark == "no errors", validation.errors
    assert validated(result.root) == set()


def test_validator_finds_nothing_in_headers_of_what_it_does_not_know(result, tmp_path):
    """Names of maps are not yet BIDS: under names that are, their headers are looked at."""
    root = shutil.copytree(result.root, tmp_path / "out")
    lines = (root / ".bidsignore").read_text().splitlines()
    kept = [line for line in lines if "dwimap" not in line and "dwiref" not in line]
    (root / ".bidsignore").write_text("\n".join(kept) + "\n")
    assert {code for _, code, _, _ in validated(root)} == {"NOT_INCLUDED"}


def test_methods_of_every_run_are_kept(result):
    (kept,) = (result.root / "logs/runs").iterdir()
    for ending in ("md", "bib"):
        last = result.root / f"logs/CITATION.{ending}"
        assert (kept / last.name).read_bytes() == last.read_bytes()
