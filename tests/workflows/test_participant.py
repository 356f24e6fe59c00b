"""Participants with several scans, and the report that comes last."""

import json
from pathlib import Path

import attrs
import pytest

from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.execution.status import RunStatus
from dmri7t.models.bundle import model_checksum
from dmri7t.models.config import read_config
from dmri7t.settings import Settings
from niflow.dmri7t import init_dmri7t_wf, participant_wf_name, plan_scan


@pytest.fixture(scope="module")
def settings(tiny_model):
    checksum = model_checksum(tiny_model)
    return Settings(str(tiny_model), "tiny", "0", checksum, 2, 1, output_resolution="native")


@pytest.fixture(scope="module")
def scans(make_scan, tmp_path_factory):
    """Two scans of one participant, opposite phase encodings, and one of another."""
    folder = tmp_path_factory.mktemp("in")
    found = []
    for label, direction in (("01", "AP"), ("01", "PA"), ("02", "")):
        scan = make_scan(folder / f"{label}{direction}", label, seed=len(found))
        parts = {"sub": label} | ({"dir": direction} if direction else {})
        found.append(attrs.evolve(scan, entities=parts))
    return found


def run(scans, settings, folder):
    lines = []
    plans = [plan_scan(scan, settings) for scan in scans]
    model = read_config(Path(settings.model))
    workflow = init_dmri7t_wf(
        plans,
        model,
        folder / "out",
        command="dmri7t in out participant",
        tractography=True,
    )
    labels = {scan.entities["sub"] for scan in scans}
    status = run_workflow(
        workflow,
        {participant_wf_name(label): label for label in labels},
        Resources(n_procs=2, memory_gb=8),
        work_dir=folder / "work",
        log_dir=folder / "logs",
        status=RunStatus(echo=lines.append),
    )
    return status, lines


def test_one_report_a_participant_and_it_comes_last(scans, settings, tmp_path):
    status, lines = run(scans, settings, tmp_path)
    assert status.exit_code == 0, status.summary()
    assert sorted(p.name for p in (tmp_path / "out").glob("*.html")) == [
        "sub-01.html",
        "sub-02.html",
    ]
    for label in ("01", "02"):
        mine = [line for line in lines if f"sub-{label} " in line]
        assert "report done" in mine[-1]
    record = json.loads((tmp_path / "work/dmri7t_wf/sub_01_wf/status.json").read_text())
    names = {node["name"].split(".")[0] for node in record["nodes"]}
    assert {"dir_AP_wf", "dir_PA_wf", "gather_dir_AP", "report"} <= names
    page = (tmp_path / "out/sub-01.html").read_text()
    told = ("sub-01_dir-AP", "sub-01_dir-PA", "dmri7t in out participant", "Run time")
    for words in (*told, "Tractography before and after"):
        assert words in page, words
    assert "http://" not in page.split("</head>")[0]

    # nothing changed: nothing is computed; a page that is gone is written again, alone
    again, lines = run(scans, settings, tmp_path)
    assert not any("started" in line for line in lines)
    (tmp_path / "out/sub-02.html").unlink()
    again, lines = run(scans, settings, tmp_path)
    assert [line.split(" ", 1)[1] for line in lines if "started" in line] == [
        "sub-02 report started"
    ]
    assert again.exit_code == 0 and (tmp_path / "out/sub-02.html").exists()
