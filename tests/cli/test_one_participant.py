"""One participant's trouble is his own: he fails by name and with his reason, the others are done.

All faults lie in one data set, so that one run tells of all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from examples import make

from dmri7t.cli import lifecycle
from dmri7t.cli.scans import why_nothing
from dmri7t.execution.status import RunStatus

GOOD, OBSTACLE, LONG, NESTED, LATE, BLOCKED = "01", "02", "L" * 225, "nested", "late", "blocked"

FAULTS = {
    OBSTACLE: "a file is in the way where a folder is needed",
    LONG: "give it a shorter label",
    NESTED: "not readable as JSON",
    LATE: f"sub-{LATE}_dwi.bval",  # deleted when it had been planned
    BLOCKED: "a folder is in the way where a file is needed",
}
"""What the reason of each failed participant must say."""


def add_participant(root: Path, label: str) -> Path:
    """Copy the good participant under another label; return the new scan's path."""
    for path in sorted((root / "sub-01/dwi").iterdir()):
        copy = root / f"sub-{label}/dwi" / path.name.replace("sub-01", f"sub-{label}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return root / f"sub-{label}/dwi/sub-{label}_dwi.nii.gz"


@pytest.fixture(scope="module")
def troubled(tiny_model, tmp_path_factory):
    """A finished run over one good participant and one of each fault."""
    folder = tmp_path_factory.mktemp("troubled")
    make.make_dataset("good/single", folder / "in")
    scans = {label: add_participant(folder / "in", label) for label in FAULTS}
    (folder / "work/dmri7t_wf").mkdir(parents=True)
    (folder / f"work/dmri7t_wf/sub_{OBSTACLE}_wf").write_text("in the way")
    scans[NESTED].with_name(f"sub-{NESTED}_dwi.json").write_text("[" * 3000 + "]" * 3000)
    blocked = f"sub-{BLOCKED}_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz"
    (folder / f"out/sub-{BLOCKED}/dwi" / blocked).mkdir(parents=True)
    words = ["in", "out", "participant", "-w", "work", "--model", tiny_model, "--nprocs", 2]
    command = [sys.executable, "-m", "dmri7t.cli.app", *map(str, words)]
    process = subprocess.Popen(
        [*command, "--skip-bids-validation"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("The run needs"):
            scans[LATE].with_name(f"sub-{LATE}_dwi.bval").unlink()
    done = subprocess.CompletedProcess(command, process.wait(300), said, "")
    return folder, done


def test_the_others_are_done(troubled):
    folder, done = troubled
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert f"sub-{GOOD} done" in done.stdout
    assert (folder / f"out/sub-{GOOD}.html").is_file()
    assert (folder / f"out/sub-{GOOD}/dwi/sub-{GOOD}_desc-7Tlike_dwi.nii.gz").is_file()


@pytest.mark.parametrize("label", FAULTS)
def test_each_failed_one_has_its_reason(troubled, label):
    folder, done = troubled
    (line,) = [x for x in done.stdout.splitlines() if x.startswith(f"sub-{label} FAILED")]
    assert FAULTS[label] in line
    assert "NOT FINISHED" not in done.stdout
    record = json.loads((folder / f"out/logs/sub-{label}_status.json").read_text())
    assert not record["done"]
    assert FAULTS[label] in record["failures"][0]["reason"]
    assert not (folder / f"out/sub-{label}.html").exists()


def test_nothing_of_a_failed_one_remains(troubled):
    folder, _ = troubled
    left = [p.name for p in (folder / "out").rglob("*") if p.is_file()]
    assert not [name for name in left if ".part-" in name]
    assert {name.split("_")[0] for name in left if "_desc-" in name} == {f"sub-{GOOD}"}


def test_an_unexpected_exception_gets_a_crash_file(tmp_path):
    status = RunStatus(echo=lambda line: None)
    try:
        {}["ranges"]
    except KeyError as error:
        status.crash_before("01", error)
    status.write(tmp_path)
    (failure,) = status.participants["01"].failures
    assert failure.reason == "KeyError: 'ranges'"
    assert "Traceback" in Path(failure.crash_file).read_text()
    record = json.loads((tmp_path / "sub-01_status.json").read_text())
    assert record["failures"] == [failure.to_dict()]
    assert f"(details: {failure.crash_file})" in status.summary()


def test_a_record_that_cannot_be_written_stops_no_other(tmp_path):
    said = []
    status = RunStatus(echo=said.append)
    for label in ("01", "02"):
        status.fail_before(label, "no scan")
    (tmp_path / "sub-01_status.json").mkdir()
    status.write(tmp_path)
    assert json.loads((tmp_path / "sub-02_status.json").read_text())["failures"]
    assert len(said) == 1 and "sub-01" in said[0] and "in the way" in said[0]


def test_a_folder_that_cannot_be_read_is_the_reason(tmp_path):
    closed = tmp_path / "sub-01/dwi"
    closed.mkdir(parents=True)
    closed.chmod(0)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from dmri7t.cli.scans import why_nothing\n"
        "os.getuid() or os.setuid(65534)\n"  # root may read everything
        "print(why_nothing(Path(sys.argv[1]), []))"
    )
    for parent in (closed.parent, tmp_path, *tmp_path.parents[:3]):
        if parent.stat().st_uid == os.getuid():
            parent.chmod(0o755)
    words = [sys.executable, "-c", program, str(closed.parent)]
    said = subprocess.run(words, capture_output=True, text=True).stdout
    closed.chmod(0o755)
    assert f"{closed}: permission denied" in said


def test_see_above_is_said_only_where_something_is_above(tmp_path):
    (tmp_path / "sub-01").mkdir()
    assert "see above" not in why_nothing(tmp_path / "sub-01", [])


def test_a_file_in_the_way_of_results_stays_and_stops_nobody(tmp_path, monkeypatch):
    name = "all_wf.sub_01_wf.dwi_wf.ds_fa"
    writer = SimpleNamespace(interface=SimpleNamespace(targets=lambda: ["sub-01/dwi/fa.json"]))
    monkeypatch.setattr(lifecycle, "all_nodes", lambda workflow: {name: writer})
    status = RunStatus({"sub_01_wf": "01"}, echo=lambda line: None)
    status.failed(name, "NotADirectoryError: [Errno 20] Not a directory: 'sub-01/dwi'")
    (tmp_path / "sub-01").write_text("in the way")
    (said,) = lifecycle.remove_unfinished(None, status, tmp_path)
    assert said.startswith("sub-01 dwi_wf: one of its results") and (tmp_path / "sub-01").exists()
