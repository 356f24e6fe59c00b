"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from examples import BROKEN, RUN, make

from dmri7t.io.dataset import validate_dataset
from dmri7t.io.derivatives import outputs_of


def dmri7t(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dmri7t.cli.app", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("single")
    make.make_dataset("good/single", root)
    return root


def files_below(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []


@pytest.mark.parametrize("name", RUN)
def test_good_example_gives_what_its_skeleton_says(name, calibrated_model, tmp_path):
    skeleton = make.make_dataset(name, tmp_path / "in")
    run = dmri7t(
        tmp_path / "in",
        tmp_path / "out",
        "participant",
        "--model",
        calibrated_model,
        "-w",
        tmp_path / "work",
        "--samples",
        2,
        "--nprocs",
        2,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for stem in skeleton["yields"]:
        for key, output in outputs_of("bids").items():
            path = tmp_path / "out" / f"{stem}{output.suffix}"
            assert path.is_file(), key
            if path.suffix == ".gz":
                assert np.isfinite(nibabel.load(path).get_fdata()).all(), key
        image = nibabel.load(tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.nii.gz")
        sources = (tmp_path / "in").glob(f"{stem}_dwi.nii*")
        source = nibabel.load(next(sources))
        assert image.shape[3] == source.shape[3]
        assert np.all(np.array(image.shape[:3]) > np.array(source.shape[:3]))
        before, after = (
            nibabel.affines.voxel_sizes(i.affine) * i.shape[:3] for i in (source, image)
        )
        # the field of view is kept, to less than one new voxel
        assert np.all(after >= before - 1e-3) and np.all(after - before < 3.5)
        assert image.get_fdata().min() >= 0
        assert image.header.get_zooms()[3] == source.header.get_zooms()[3]
        sidecar = json.loads((tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.json").read_text())
        assert sidecar["Synthetic"] is True
        bvecs = np.loadtxt(tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.bvec")
        assert bvecs.shape == (3, image.shape[3])
        quality = json.loads((tmp_path / "out" / f"{stem}_desc-quality_dwi.json").read_text())
        gains = [s["expected"]["R2"]["ratio"] for s in quality["shells"] if s["translated"]]
        assert gains == pytest.approx([np.exp(-0.5)] * len(gains)) and gains
    validation = validate_dataset(tmp_path / "out")
    assert validation.remark == "no errors", validation.errors
    participants = {re.match(r"sub-[^/]+", stem)[0] for stem in skeleton["yields"]}
    for participant in participants:
        assert (tmp_path / "out" / f"{participant}.html").is_file()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_example_gives_one_clear_line(name, tiny_model, tmp_path):
    skeleton = make.make_dataset(name, tmp_path / "in")
    run = dmri7t(
        tmp_path / "in",
        tmp_path / "out",
        "participant",
        "--model",
        tiny_model,
        "-w",
        tmp_path / "work",
        "--samples",
        1,
        *make.arguments(skeleton, tmp_path / "in"),
    )
    said = run.stdout + run.stderr
    assert run.returncode == skeleton["exit"], said
    lines = [line for line in said.splitlines() if re.search(skeleton["error"], line)]
    assert lines, said
    assert "Traceback" not in said
    results = [p for p in files_below(tmp_path / "out") if "_desc-" in p.name]
    wanted = skeleton.get("yields", [])
    assert bool(results) == bool(wanted)
    assert not [p for p in files_below(tmp_path / "out") if ".part" in p.name]
    for stem in wanted:
        assert (tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.nii.gz").is_file()


def test_unknown_participant_is_named_with_those_there_are(single, tiny_model, tmp_path):
    run = dmri7t(
        single,
        tmp_path,
        "participant",
        "--participant-label",
        "sub-99",
        "--model",
        tiny_model,
        "-w",
        tmp_path / "w",
    )
    assert run.returncode == 2
    assert "no participant 99" in run.stderr and "01" in run.stderr
    assert not files_below(tmp_path)


@pytest.mark.parametrize("where", ["", "results", "sub-01/results"])
def test_output_inside_the_input_is_refused(single, tiny_model, where):
    run = dmri7t(single, single / where, "participant", "--model", tiny_model, "-w", "/tmp/w")
    assert run.returncode == 2 and "inside the input" in run.stderr


def test_output_folder_that_is_a_file_or_of_another_is_refused(single, tiny_model, tmp_path):
    (tmp_path / "file").write_text("x")
    other = tmp_path / "other"
    make.make_dataset("good/single", other)
    before = sorted(files_below(other))
    for out, reason in ((tmp_path / "file", "is a file"), (other, "another data set")):
        run = dmri7t(single, out, "participant", "--model", tiny_model, "-w", tmp_path / "w")
        assert run.returncode == 2 and reason in run.stderr
    assert sorted(files_below(other)) == before and not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--mem", "0"),
        ("--b0-threshold", "-5"),
        ("--output-resolution", "fine"),
        ("--random-seed", "-1"),
        ("--nprocs", "0"),
        ("--shells", "x"),
        ("--consistency", "2"),
    ],
)
def test_values_that_cannot_be_are_refused_at_once(single, tmp_path, option, value):
    run = dmri7t(single, tmp_path / "out", "participant", f"{option}={value}")
    assert run.returncode == 2 and option in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"dwi": 1}'])
def test_filter_file_that_cannot_be_read_is_named(single, tiny_model, tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    options = ("--bids-filter-file", tmp_path / "f.json", "--device", "cpu", "--dry-run")
    run = dmri7t(
        single, tmp_path / "o", "participant", "-w", tmp_path, "--model", tiny_model, *options
    )
    assert run.returncode == 2 and "f.json" in run.stderr and "Traceback" not in run.stderr


def test_error_of_another_participant_stops_nobody(tiny_model, tmp_path):
    make.make_dataset("broken/one_of_two", tmp_path / "in")
    asked = ("--participant-label", "02", "--model", tiny_model, "--dry-run", "-w", tmp_path / "w")
    run = dmri7t(tmp_path / "in", tmp_path / "out", "participant", *asked)
    assert run.returncode == 0 and "sub-01" not in run.stdout, run.stdout + run.stderr


def test_output_below_derivatives_is_allowed(single, tiny_model, tmp_path):
    run = dmri7t(
        single,
        single / "derivatives" / "x",
        "participant",
        "--model",
        tiny_model,
        "-w",
        tmp_path,
        "--dry-run",
    )
    assert run.returncode == 0, run.stderr
    assert not (single / "derivatives").exists()


def test_altered_model_is_refused(single, tiny_model, tmp_path):
    altered = shutil.copytree(tiny_model, tmp_path / "model")
    weights = altered / "mean.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    run = dmri7t(single, tmp_path / "out", "participant", "--model", altered, "-w", tmp_path / "w")
    assert run.returncode == 2
    assert "mean.safetensors: altered or damaged" in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{", '{"name": "x"}'])
def test_unreadable_model_is_refused(single, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    run = dmri7t(single, tmp_path / "out", "participant", "--model", tmp_path, "-w", tmp_path / "w")
    said = re.search("not a (readable|usable) model description", run.stderr)
    assert run.returncode == 2 and said, run.stderr


def test_model_that_is_not_there_names_those_that_ship(single, tmp_path):
    run = dmri7t(
        single, tmp_path / "out", "participant", "--model", "nowhere", "-w", tmp_path / "w"
    )
    assert run.returncode == 2 and "models that ship: cnn, default, gan" in run.stderr


def test_cuda_without_cuda_is_an_error(single, tiny_model, tmp_path):
    import torch

    if torch.cuda.is_available():
        return  # the other side of this is covered by tests marked gpu
    run = dmri7t(
        single,
        tmp_path / "out",
        "participant",
        "--model",
        tiny_model,
        "--device",
        "cuda",
        "-w",
        tmp_path / "w",
    )
    assert run.returncode == 2 and "--device cuda" in run.stderr
    assert not (tmp_path / "out").exists()


def test_dry_run_lists_candidates_and_never_imports_torch(tiny_model, tmp_path):
    make.make_dataset("good/sessions", tmp_path / "in")
    extra = tmp_path / "in/sub-01/ses-a/dwi/sub-01_ses-a_dir-AP_sbref.nii.gz"
    shutil.copy(tmp_path / "in/sub-01/ses-a/dwi/sub-01_ses-a_dir-AP_dwi.nii.gz", extra)
    argv = [
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "participant",
        "--model",
        str(tiny_model),
        "--session-id",
        "ses-a",
        "--dry-run",
        "-w",
        str(tmp_path / "w"),
    ]
    program = (
        "import sys\nfrom dmri7t.cli.app import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit as end:\n    print('code', end.code)\n"
        "print('loaded', [m for m in ('torch', 'monai', 'lightning') if m in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "code 0" in run.stdout, run.stdout + run.stderr
    assert "loaded []" in run.stdout
    said = run.stdout
    assert "taken    sub-01/ses-a/dwi/sub-01_ses-a_dir-AP_dwi.nii.gz" in said
    assert "skipped  sub-01/ses-a/dwi/sub-01_ses-a_dir-AP_sbref.nii.gz" in said
    assert re.search(r"skipped .*ses-b.*session b was not asked for", said)
    assert not (tmp_path / "out").exists()


def test_filter_file_chooses_scans(tiny_model, tmp_path):
    make.make_dataset("good/sessions", tmp_path / "in")
    (tmp_path / "filter.json").write_text('{"dwi": {"direction": "PA"}}')
    run = dmri7t(
        tmp_path / "in",
        tmp_path / "out",
        "participant",
        "--model",
        tiny_model,
        "--bids-filter-file",
        tmp_path / "filter.json",
        "--dry-run",
        "-w",
        tmp_path / "w",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("taken ") == 1 and "the filter asks for direction PA" in run.stdout


def test_help_names_the_exit_codes():
    run = dmri7t("--help")
    assert run.returncode == 0 and "Exit codes" in run.stdout
