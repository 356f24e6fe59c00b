"""The command on other layouts than raw BIDS: one run a layout, looked at from many sides."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from examples import make
from scipy.ndimage import binary_erosion

from dmri7t.io.dataset import validate_dataset
from dmri7t.io.gradients import read_table


def dmri7t(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dmri7t.cli.app", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def ran(name: str, folder: Path, model: Path) -> SimpleNamespace:
    """One run over an example."""
    skeleton = make.make_dataset(name, folder / "in")
    options = ("--model", model, "-w", folder / "work", "--samples", 1, "--nprocs", 2)
    extra = make.arguments(skeleton, folder / "in")
    run = dmri7t(folder / "in", folder / "out", "participant", *options, *extra)
    assert run.returncode == 0, run.stdout + run.stderr
    return SimpleNamespace(
        root=folder / "in", out=folder / "out", said=run.stdout, skeleton=skeleton, options=options
    )


@pytest.fixture(scope="module")
def qsiprep(tiny_model, tmp_path_factory) -> SimpleNamespace:
    return ran("good/qsiprep", tmp_path_factory.mktemp("qsiprep"), tiny_model)


@pytest.fixture(scope="module")
def hcp(tiny_model, tmp_path_factory) -> SimpleNamespace:
    return ran("good/hcp", tmp_path_factory.mktemp("hcp"), tiny_model)


@pytest.fixture(scope="module")
def fmriprep(tiny_model, tmp_path_factory) -> SimpleNamespace:
    return ran("good/fmriprep", tmp_path_factory.mktemp("fmriprep"), tiny_model)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def fitted(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Principal direction in the scanner's frame by DIPY, and the voxels of a written image."""
    image = nibabel.load(path)
    stem = str(path).removesuffix(".nii.gz")
    table = read_table(f"{stem}.bval", f"{stem}.bvec", image.affine)
    gradients = gradient_table(table.bvals, bvecs=table.directions)
    fit = TensorModel(gradients).fit(image.get_fdata(), mask=image.get_fdata()[..., 0] > 0)
    return fit.evecs[..., 0], image


def white_matter(image: nibabel.Nifti1Image, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels well within white matter, and the true direction of the fibres."""
    place = make.positions(image.shape[:3], image.affine, size)
    radius = np.linalg.norm(place, axis=-1)
    return binary_erosion((radius > 0.3) & (radius < 0.7)), make.fibres(place)


@pytest.mark.parametrize("acquisition", ["lps", "oblique", "ras"])
def test_fibres_come_out_as_they_went_in(qsiprep, acquisition):
    """LPS+ by the table in MRtrix's form, oblique by the bvec file alone, and RAS+."""
    stem = qsiprep.out / f"sub-01/dwi/sub-01_acq-{acquisition}_space-ACPC_desc-7Tlike_dwi"
    direction, image = fitted(Path(f"{stem}.nii.gz"))
    source = nibabel.load(
        qsiprep.root / f"sub-01/dwi/sub-01_acq-{acquisition}_space-ACPC_desc-preproc_dwi.nii.gz"
    )
    axes = "".join(nibabel.aff2axcodes(image.affine))
    assert axes == {"lps": "LPS", "oblique": "LPS", "ras": "RAS"}[acquisition]
    size = make.field_of_view(source.shape[:3], source.affine)
    inside, truth = white_matter(image, size)
    cosine = np.abs((direction[inside] * truth[inside]).sum(-1)).clip(0, 1)
    angles = np.rad2deg(np.arccos(cosine))
    assert np.median(angles) < 4 and np.mean(angles < 15) > 0.95, np.median(angles)
    # the same with an axis mirrored would be seen
    mirrored = np.abs((direction[inside] * truth[inside] * [-1, 1, 1]).sum(-1)).clip(0, 1)
    assert np.median(np.rad2deg(np.arccos(mirrored))) > 30


def test_qsiprep_is_recognised_and_its_names_are_kept(qsiprep):
    assert "Input: QSIPrep's results" in qsiprep.said
    assert "neither motion nor distortion was corrected" not in qsiprep.said
    stem = "sub-01/dwi/sub-01_acq-lps_space-ACPC"
    sidecar = read_json(qsiprep.out / f"{stem}_desc-7Tlike_dwi.json")
    source = f"bids:qsiprep:{stem}_desc-preproc_dwi.nii.gz"
    assert sidecar["Sources"] == [source] and sidecar["SpatialReference"] == source
    described = read_json(qsiprep.out / "dataset_description.json")
    assert described["DatasetLinks"] == {"qsiprep": qsiprep.root.as_uri()}
    assert {p.name for p in qsiprep.out.glob("sub-*")} == {"sub-01", "sub-01.html"}


def test_qsiprep_mask_is_used(qsiprep):
    stem = "sub-01/dwi/sub-01_acq-ras_space-ACPC"
    given = nibabel.load(qsiprep.root / f"{stem}_desc-brain_mask.nii.gz")
    native = nibabel.load(qsiprep.out / f"{stem}_model-sh_param-rish0_desc-native_dwimap.nii.gz")
    assert (native.get_fdata()[..., 0][given.get_fdata() == 0] == 0).all()
    quality = read_json(qsiprep.out / f"{stem}_desc-quality_dwi.json")
    volume = given.get_fdata().sum() * 2.5**3 / 1000
    assert quality["mask_volume_ml"] == pytest.approx(volume, rel=1e-3)


def by_tissue(run: SimpleNamespace, stem: str) -> dict:
    return read_json(run.out / f"{stem}_desc-quality_dwi.json").get("tissues", {})


def check_metrics(tissues: dict) -> None:
    """FA and MD of the examples' head: free water, fibres, and neither."""
    assert tissues["left_out"] == "" and tissues["dice"] > 0.9
    rows = {row["name"]: row for row in tissues["metrics"]}
    assert list(rows) == ["GM", "WM", "CSF"]
    assert rows["GM"]["md_native"] == pytest.approx(0.85e-3, rel=0.15)
    assert rows["WM"]["md_native"] == pytest.approx((3 * 0.35e-3 + 1.3e-3) / 3, rel=0.15)
    assert rows["CSF"]["md_native"] > 1.8e-3
    assert rows["WM"]["fa_native"] > 0.5 > rows["GM"]["fa_native"]
    assert all(0 < row["nmse"] < 1 and row["fa_7tlike"] > 0 for row in rows.values())


def test_metrics_by_tissue_where_the_spaces_are_the_same(fmriprep):
    stem = "sub-same/ses-a/dwi/sub-same_ses-a"
    tissues = by_tissue(fmriprep, stem)
    check_metrics(tissues)
    assert tissues["source"] == "bids:fmriprep:sub-same/anat/sub-same_dseg.nii.gz"
    links = read_json(fmriprep.out / "dataset_description.json")["DatasetLinks"]
    assert links.keys() == {"raw", "fmriprep"}
    lines = (fmriprep.out / f"{stem}_desc-quality_dwi.tsv").read_text().splitlines()
    head, *rows = (line.split("\t") for line in lines)
    assert [row[0] for row in rows] == ["b0", "b1000", "GM", "WM", "CSF"]
    assert {len(row) for row in rows} == {len(head)}
    white = dict(zip(head, rows[3], strict=True))
    metrics = tissues["metrics"][1]
    assert float(white["fa_native"]) == pytest.approx(metrics["fa_native"], rel=1e-4)
    assert white["n_volumes"] == "n/a"
    page = (fmriprep.out / "sub-same.html").read_text()
    assert "By tissue" in page and "It was not corrected for motion and distortion" in page
    assert "none is known of before them" in page


def test_another_space_gives_a_sentence_and_no_metrics(fmriprep):
    tissues = by_tissue(fmriprep, "sub-elsewhere/dwi/sub-elsewhere")
    assert tissues["metrics"] == [] and tissues["dice"] < tissues["dice_needed"]
    assert tissues["left_out"] in (fmriprep.out / "sub-elsewhere.html").read_text()


def test_tissues_are_never_required(fmriprep):
    assert by_tissue(fmriprep, "sub-without/dwi/sub-without") == {}
    assert "sub-without: no metrics by tissue" in fmriprep.said
    assert "By tissue" not in (fmriprep.out / "sub-without.html").read_text()
    assert "3 scans are raw: neither motion nor distortion was corrected" in fmriprep.said


def test_tissues_of_qsiprep_are_used_as_it_labels_them(qsiprep):
    for acquisition in ("lps", "ras"):
        tissues = by_tissue(qsiprep, f"sub-01/dwi/sub-01_acq-{acquisition}_space-ACPC")
        check_metrics(tissues)
        assert tissues["maker"] == "QSIPrep"
    # the head of the oblique scan is a larger one
    assert by_tissue(qsiprep, "sub-01/dwi/sub-01_acq-oblique_space-ACPC")["left_out"]
    page = (qsiprep.out / "sub-01.html").read_text()
    assert "It was corrected before" in page and "preprocessed by QSIPrep" in page
    assert "It was not corrected" not in page and "none is known of before them" not in page


@pytest.mark.parametrize("which", ["qsiprep", "hcp", "fmriprep"])
def test_output_is_valid(which, request):
    validation = validate_dataset(request.getfixturevalue(which).out)
    assert validation.remark == "no errors", validation.errors


def test_hcp_names_and_links(hcp):
    assert "Input: HCP's folders" in hcp.said and "7T scan" in hcp.said
    assert "100408" not in hcp.said
    sidecar = read_json(hcp.out / "sub-100307/dwi/sub-100307_desc-7Tlike_dwi.json")
    assert sidecar["Sources"] == ["bids:raw:100307/T1w/Diffusion/data.nii.gz"]
    described = read_json(hcp.out / "dataset_description.json")
    assert described["DatasetLinks"] == {"raw": hcp.root.as_uri()}
    quality = read_json(hcp.out / "sub-100307/dwi/sub-100307_desc-quality_dwi.json")
    mask = nibabel.load(hcp.root / "100307/T1w/Diffusion/nodif_brain_mask.nii.gz")
    volume = mask.get_fdata().sum() * 2.5**3 / 1000
    assert quality["mask_volume_ml"] == pytest.approx(volume, rel=1e-3)


@pytest.mark.parametrize("where", ["", "100307/T1w/out"])
def test_output_inside_hcp_folders_is_refused(hcp, where):
    run = dmri7t(hcp.root, hcp.root / where, "participant", *hcp.options)
    assert run.returncode == 2 and "inside the input" in run.stderr


def test_output_inside_derivatives_beside_the_input_is_refused(qsiprep, tmp_path):
    make.make_dataset("good/single", tmp_path / "raw")
    run = dmri7t(
        tmp_path / "raw",
        qsiprep.root / "mine",
        "participant",
        *qsiprep.options,
        "--derivatives",
        f"qsiprep={qsiprep.root}",
    )
    assert run.returncode == 2 and "inside the input" in run.stderr


def test_raw_scans_of_participants_without_qsiprep_results_are_told(qsiprep, tmp_path):
    make.make_dataset("good/inherited", tmp_path / "raw")
    run = dmri7t(
        tmp_path / "raw",
        tmp_path / "out",
        "participant",
        *qsiprep.options,
        "--dry-run",
        "--derivatives",
        f"qsiprep={qsiprep.root}",
    )
    assert run.returncode == 1, run.stderr
    assert "skipped  sub-02/dwi/sub-02_dwi.nii.gz: raw; scans are taken from QSIPrep" in run.stdout
    assert "taken    qsiprep: sub-01/dwi/sub-01_acq-ras_space-ACPC_desc-preproc_dwi" in run.stdout
    assert "sub-02: no diffusion scan to take" in run.stderr
    described = "with QSIPrep's results"
    assert described in run.stdout


@pytest.mark.parametrize("value", ["freesurfer=/x", "qsiprep", "qsiprep="])
def test_derivatives_that_are_not_known_are_refused(qsiprep, value):
    run = dmri7t(qsiprep.root, "o", "participant", "--derivatives", value)
    assert run.returncode == 2 and "qsiprep=PATH or fmriprep=PATH" in run.stderr


def test_filters_choose_among_qsiprep_scans(qsiprep, tmp_path):
    filters = tmp_path / "f.json"
    filters.write_text('{"dwi": {"acquisition": "lps", "space": "ACPC", "desc": "preproc"}}')
    database = tmp_path / "index"
    for _ in range(2):
        run = dmri7t(
            qsiprep.root,
            tmp_path / "out",
            "participant",
            *qsiprep.options,
            "--dry-run",
            "--bids-filter-file",
            filters,
            "--bids-database-dir",
            database,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("taken ") == 1 and "filter asks for acquisition" in run.stdout
    assert len(list(database.iterdir())) == 1
