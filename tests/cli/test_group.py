"""The level group of the command line, on a run of the command line."""

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
    options = (*options, "--skip-bids-validation")
    asked = (root / "in", root / "out", "participant", "--participant-label", "01", "02")
    run = dmri7t(*asked, *options)
    assert run.returncode == 1, run.stdout + run.stderr
    return SimpleNamespace(root=root, bids=root / "in", out=root / "out", asked=asked, opts=options)


def test_group_gathers_what_is_there_and_names_what_is_not(study):
    run = dmri7t(study.bids, study.out, "group", "--skip-bids-validation")
    assert run.returncode == 0, run.stderr
    assert "1 scan; 1 of 3 participants have results" in run.stdout
    told = run.stderr.splitlines()
    assert any("sub-01: failed in its last run: " in line and "bval" in line for line in told)
    assert any("sub-03: in the data set, but without results" in line for line in told)
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
