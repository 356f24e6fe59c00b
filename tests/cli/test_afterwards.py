"""What is done after a run of the command line: the group, reports drawn anew, the methods text."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from examples import make

from dmri7t.io.dataset import validate_dataset


def dmri7t(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dmri7t.cli.app", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_model) -> SimpleNamespace:
    """Two participants, one of which has a scan that cannot be used, and a third without a run."""
    root = tmp_path_factory.mktemp("study")
    make.make_dataset("broken/one_of_two", root / "in")
    third = root / "in/sub-03/dwi"
    third.mkdir(parents=True)
    for path in (root / "in/sub-02/dwi").iterdir():
        (third / path.name.replace("sub-02", "sub-03")).write_bytes(path.read_bytes())
    options = ("--model", tiny_model, "-w", root / "work", "--samples", 1, "--nprocs", 2)
    options = (*options, "--skip-bids-validation", "-v")
    asked = (root / "in", root / "out", "participant", "--participant-label", "01", "02")
    run = dmri7t(*asked, *options)
    assert run.returncode == 1, run.stdout + run.stderr
    return SimpleNamespace(root=root, bids=root / "in", out=root / "out", asked=asked, opts=options)


def test_group_gathers_what_is_there_and_names_what_is_not(study):
    run = dmri7t(study.bids, study.out, "group", "--skip-bids-validation")
    assert run.returncode == 0, run.stderr
    assert "1 scan; 1 of 3 participants have results" in run.stdout
    lines = run.stderr.splitlines()
    assert any("sub-01: failed in its last run: " in line and "bval" in line for line in lines)
    assert any("sub-03: in the data set, but without results" in line for line in lines)
    with open(study.out / "group_dwi.tsv", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    quality = json.loads((study.out / "sub-02/dwi/sub-02_desc-quality_dwi.json").read_text())
    assert float(row["snr"]) == pytest.approx(quality["snr"], rel=1e-5)
    assert 0 < float(row["fa_median"]) < 1 and 0 < float(row["md_median"]) < 3e-3
    # the page's link leads to the scan's own part of the report
    assert 'href="sub-02.html#sub-02"' in (study.out / "group_dwi.html").read_text()
    assert 'id="sub-02"' in (study.out / "sub-02.html").read_text()
    validation = validate_dataset(study.out)
    assert validation.remark == "no errors", validation.errors


def test_group_of_chosen_participants(study, tmp_path):
    only = dmri7t(study.bids, study.out, "group", "--participant-label", "sub-02")
    assert only.returncode == 0 and "sub-03" not in only.stderr, only.stderr
    unknown = dmri7t(study.bids, study.out, "group", "--participant-label", "99")
    assert unknown.returncode == 2 and "no participant 99" in unknown.stderr


@pytest.mark.parametrize("where", ["out", "nowhere"])
def test_nothing_to_gather_ends_with_2(study, where):
    folder = Path(study.root) / where
    before = sorted(folder.rglob("*"))
    run = dmri7t(study.bids, folder, "group", "--participant-label", "03")
    assert run.returncode == 2 and "no results of sub-03" in run.stderr
    assert len(run.stderr.splitlines()) == 1 and sorted(folder.rglob("*")) == before


def stamps(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_reports_are_drawn_anew_without_computing(study):
    page = study.out / "sub-02.html"
    pictures = sorted((study.out / "sub-02/figures").iterdir())
    results = stamps(study.out / "sub-02/dwi")
    pictures[0].unlink()
    page.write_text("old")
    run = dmri7t(*study.asked, *study.opts, "--reports-only")
    # sub-01 has no scan to draw from, as in the run before
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"report: {page}" in run.stdout and "sub-02" not in run.stderr
    assert sorted((study.out / "sub-02/figures").iterdir()) == pictures
    started = [line.split()[2] for line in run.stdout.splitlines() if line.endswith(" started")]
    assert started == ["report"]
    assert stamps(study.out / "sub-02/dwi") == results
    text = page.read_text()
    assert 'id="sub-02"' in text and "from an earlier run" in text
    # the command is that of the run that computed
    assert "--reports-only" not in text and "--samples 1" in text


def test_results_of_other_options_are_told_of(study):
    name = "sub-02_model-sh_param-rish0_desc-uncertainty_dwimap.nii.gz"
    kept = study.out / "sub-02/dwi" / name
    kept.write_bytes(b"of a run that drew samples")
    asked = (study.bids, study.out, "participant", "--participant-label", "02")
    told = dmri7t(*asked, *study.opts)
    kept.unlink()
    silent = dmri7t(*asked, *study.opts)
    assert (told.returncode, silent.returncode, silent.stderr) == (0, 0, "")
    assert f"warning: {kept}: of a run with other options, and not of this one" in told.stderr


def test_reports_of_what_was_not_computed_are_refused(study):
    before = stamps(study.root)
    asked = (study.bids, study.out, "participant", "--participant-label", "02")
    run = dmri7t(*asked, *study.opts, "--reports-only", "--random-seed", 7)
    assert run.returncode == 2, run.stdout + run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("dmri7t: sub-02: ") and "run without --reports-only" in line
    assert "Traceback" not in run.stdout and "started" not in run.stdout
    kept = {p: t for p, t in stamps(study.root).items() if p.name != "status.json"}
    assert kept == {p: t for p, t in before.items() if p.name != "status.json"}


def test_methods_text_is_that_of_the_run(study, tmp_path):
    asked = (study.bids, tmp_path / "out", "participant", "--participant-label", "02")
    run = dmri7t(*asked, *study.opts, "--boilerplate-only", "-w", tmp_path / "work")
    assert run.returncode == 0, run.stderr
    written = tmp_path / "out/logs"
    assert f"wrote: {written / 'CITATION.md'}" in run.stdout
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"CITATION.md", "CITATION.bib"}
    text = (written / "CITATION.md").read_text()
    assert "spherical harmonics" in text and "1. " in text[text.index("# References") :]
    assert (written / "CITATION.bib").read_text().count("@") >= 5
    for name in ("CITATION.md", "CITATION.bib"):
        assert (study.out / "logs" / name).read_text() == (written / name).read_text()
