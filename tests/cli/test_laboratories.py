"""What laboratories bring, through the command: dry runs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from examples import make

from dmri7t.cli.app import main
from dmri7t.errors import InputError
from dmri7t.io.checks import check_scan
from dmri7t.io.source import open_source


@pytest.fixture
def dry_run(tmp_path, tiny_model, capsys):
    """Run the command over an example, or over a folder that is there."""

    def run(name: str = "", *more: str) -> SimpleNamespace:
        root, words = tmp_path / "in", list(more)
        if name:
            words += make.arguments(make.make_dataset(name, root), root)
        options = ["--dry-run", "--model", str(tiny_model), "--device", "cpu"]
        options += ["--skip-bids-validation"]
        with pytest.raises(SystemExit) as stopped:
            main([str(root), str(tmp_path / "out"), "participant", *options, *words])
        said = capsys.readouterr()
        return SimpleNamespace(
            root=root, code=stopped.value.code, said=said.out, complained=said.err
        )

    return run


def test_short_series_beside_a_scan_are_no_failure(dry_run):
    run = dry_run("good/short_series")
    assert run.code == 0 and not run.complained
    assert "skipped  sub-01/dwi/sub-01_dir-PA_dwi.nii.gz: " in run.said
    assert "3 different directions; 6 are needed" in run.said
    assert "cannot be used" not in run.said
    assert "  sub-01_dir-AP: 2 b0, b1000 (16 directions)" in run.said


def test_short_series_alone_are_a_failure_with_the_reason(dry_run, tmp_path):
    make.make_dataset("good/short_series", tmp_path / "in")
    for path in (tmp_path / "in").glob("**/*dir-AP_dwi*"):
        path.unlink()
    run = dry_run()
    assert run.code == 2
    assert "sub-01_dir-PA_dwi.bval: 3 different directions" in run.complained


def test_above_there_is_something(dry_run, tmp_path):
    (tmp_path / "in" / "sub-03" / "dwi").mkdir(parents=True)
    run = dry_run("broken/only_short_series")
    assert run.code == 1
    assert "sub-02: no diffusion scan to take (sub-02_dir-PA" in run.complained
    assert "sub-03: no diffusion scan to take: there is no image (.nii, .nii.gz)" in run.complained


@pytest.mark.parametrize("ending", [".mih", ".Mif", ".img", ".NII", ".Nii.Gz", ".mgz"])
def test_images_of_other_formats_are_listed(dry_run, tmp_path, ending):
    (tmp_path / "in" / "sub-01" / "dwi").mkdir(parents=True)
    Path(tmp_path / "in" / "sub-01" / "dwi" / f"sub-01_x_dwi{ending}").touch()
    run = dry_run("good/single")
    assert run.code == 0
    (line,) = (line for line in run.said.splitlines() if f"_x_dwi{ending}: " in line)
    assert "skipped" in line and ("convert it" in line or "rename it" in line)


def test_volumes_are_left_out(dry_run):
    run = dry_run("good/excluded_volumes")
    assert run.code == 0, run.complained
    assert "gradients that fit, without volumes 16, 17" in run.said
    assert "  sub-01: 2 b0, b1000 (14 directions)" in run.said


def test_a_trace_at_the_end_is_left_out_as_its_message_says(dry_run):
    run = dry_run("broken/trace_at_end", "--exclude-volumes", "16", "17")
    assert run.code == 0, run.complained
    assert "  sub-01: 2 b0, b1000 (14 directions)" in run.said


def test_words_that_are_no_volumes_are_refused(dry_run):
    run = dry_run("good/single", "--exclude-volumes", "5-3")
    assert run.code == 2 and "give volumes counted from 0, such as 12, 64-66" in run.complained


@pytest.mark.slow
def test_a_scan_without_some_volumes_is_translated(tmp_path, tiny_model, capsys):
    make.make_dataset("good/excluded_volumes", tmp_path / "in")
    words = [str(tmp_path / "in"), str(tmp_path / "out"), "participant", "--model", str(tiny_model)]
    words += ["-w", str(tmp_path / "work"), "--samples", "1", "--nprocs", "1", "--gibbs"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--device", "cpu", "--skip-bids-validation"])
    assert stopped.value.code == 0, capsys.readouterr().err
    stem = tmp_path / "out" / "sub-01" / "dwi" / "sub-01_desc-7Tlike_dwi"
    assert nibabel.load(f"{stem}.nii.gz").shape[3] == len(np.loadtxt(f"{stem}.bval")) == 16
    sidecar = json.loads(Path(f"{stem}.json").read_text())
    assert sidecar["SourceVolumesUsed"] == [*range(16)]
    # both that were left out had the end of the series
    before = np.loadtxt(tmp_path / "in" / "sub-01" / "dwi" / "sub-01_dwi.bvec")[:, :16]
    assert np.allclose(np.loadtxt(f"{stem}.bvec"), before, atol=1e-4)


def test_folders_of_fsl_and_uk_biobank_are_taken(dry_run):
    run = dry_run("good/fsl")
    assert run.code == 0, run.complained
    assert "Input: FSL's folders" in run.said
    assert (
        "data_ud.nii.gz: a diffusion series with gradients that fit, brain mask 1000001" in run.said
    )
    assert "  sub-patient02: 2 b0, b1000 (16 directions)" in run.said
    assert "3 scans are from FSL's folders" in run.said


def test_vectors_that_eddy_turned_go_first(tmp_path):
    make.make_dataset("good/fsl", tmp_path)
    source = open_source(tmp_path)
    names = {label: source.by_session(label)[""].bvec.name for label in source.labels}
    assert names["patient02"] == "data.eddy_rotated_bvecs" and names["patient03"] == "bvecs"
    (tmp_path / "patient_02" / "old.eddy_rotated_bvecs").touch()
    with pytest.raises(InputError, match="2 files end in eddy_rotated_bvecs; keep the one"):
        check_scan(source.by_session("patient02")[""])


@pytest.mark.parametrize("name", ["bvals", "bvecs"])
def test_a_folder_of_fsl_without_one_of_its_gradients_is_told_which(dry_run, tmp_path, name):
    make.make_dataset("good/fsl", tmp_path / "in")
    for folder in ("patient_02", "patient_03", "1000001/dMRI/dMRI"):
        for path in (tmp_path / "in" / folder).glob(f"*{name}"):
            path.unlink()
    run = dry_run("")
    assert run.code == 1
    assert f"patient_02/{name}: missing; add the {name[:-1]} file" in run.complained


def test_interpolation_by_the_scanner_is_told(dry_run, tmp_path):
    make.make_dataset("broken/scanner_interpolation", tmp_path / "in")
    run = dry_run()
    assert run.code == 0, run.complained
    assert "sub-01: the scanner interpolated it (AcquisitionMatrixPE is 14, for 28" in run.said
    run = dry_run("", "--gibbs")
    assert run.code == 2 and "leave --gibbs out" in run.complained


def test_files_of_hcp_that_are_not_used_are_told(dry_run, tmp_path):
    folder = tmp_path / "in" / "100307" / "T1w" / "Diffusion"
    folder.mkdir(parents=True)
    (folder / "grad_dev.nii.gz").touch()
    run = dry_run("good/hcp")
    assert run.code == 0, run.complained
    assert "sub-100307: grad_dev.nii.gz is not used" in run.said


def test_parts_and_opposed_scans_are_told(dry_run):
    run = dry_run("good/opposed_parts")
    assert run.code == 0, run.complained
    assert (
        "  joined   sub-01/dwi/sub-01_dir-AP_run-2_dwi.nii.gz: with sub-01_dir-AP_run-1" in run.said
    )
    assert "sub-01_dir-AP: joined from sub-01_dir-AP_run-1_dwi.nii.gz and sub-01_dir-" in run.said
    assert "  sub-01_dir-AP: 4 b0, b1000 (16 directions)" in run.said
    opposed = "sub-01_dir-PA_run-1, sub-01_dir-AP: acquired in opposite directions (j and j-)"
    assert opposed in run.said


def test_parts_stay_apart_where_it_is_asked_for(dry_run):
    run = dry_run("good/shells_in_parts", "--separate-all-dwis")
    # one of them has four directions alone
    assert run.code == 0 and "  joined" not in run.said
    assert "sub-01_acq-b1000, sub-01_acq-b2000: not joined (--separate-all-dwis)" in run.said
    assert "  sub-01_acq-b2000: 2 b0, b2000 (20 directions)" in run.said
    assert "sub-01_acq-few_dwi.nii.gz: " in run.said and "4 different directions" in run.said
