"""What laboratories bring, through the command: dry runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from examples import make

from dmri7t.cli.app import main


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
    assert "3 different directions in the largest shell" in run.said
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


@pytest.mark.parametrize("ending", [".mif", ".mif.gz", ".img", ".NII", ".Nii.Gz", ".mgz"])
def test_images_of_other_formats_are_listed(dry_run, tmp_path, ending):
    (tmp_path / "in" / "sub-01" / "dwi").mkdir(parents=True)
    Path(tmp_path / "in" / "sub-01" / "dwi" / f"sub-01_x_dwi{ending}").touch()
    run = dry_run("good/single")
    assert run.code == 0
    (line,) = (line for line in run.said.splitlines() if f"_x_dwi{ending}: " in line)
    assert "skipped" in line and ("convert it" in line or "rename it" in line)
