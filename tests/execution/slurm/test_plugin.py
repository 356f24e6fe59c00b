"""A job a node on a real SLURM, which is disturbed in all the ways that clusters know."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from attrs import evolve
from execution.slurm.driver import QUICK, Driver, run
from execution.test_run import add_one, node, participants

from dmri7t.execution.slurm.job import JobFiles

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def faults(cluster, tmp_path_factory):
    """A driver whose participants each have a fault; a time limit takes SLURM a minute or more."""
    driver = Driver(cluster, "faults", tmp_path_factory.mktemp("faults"))
    yield driver
    driver.process.kill()
    driver.wait()


@pytest.fixture(autouse=True)
def started(faults):
    """Let it run beside all other tests here, since it only waits."""


def test_a_chain_is_a_chain_of_jobs(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEUE_FORMAT", "%u")
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.delenv("LOGNAME", raising=False)
    nodes = [node(add_one, "first", number=1), node(add_one, "second", n_procs=2)]
    status, lines, _ = run(*participants(a=nodes), tmp_path)
    assert status.exit_code == 0, lines
    records = status.participants["a"].nodes.values()
    assert [r.state for r in records] == ["done", "done"]
    assert all(r.seconds > 0 and r.peak_gb > 0.01 for r in records)
    assert sum("job " in line for line in lines) == 2
    again, lines, _ = run(*participants(a=nodes), tmp_path)
    assert again.exit_code == 0
    assert not any("job " in line for line in lines)
    assert [r.state for r in again.participants["a"].nodes.values()] == ["cached", "cached"]


def test_cheap_nodes_run_beside_the_driver(slurm, tmp_path):
    nodes = [node(add_one, "first", number=1), node(add_one, "second")]
    for made in nodes:
        made.run_without_submitting = True
    status, lines, _ = run(*participants(a=nodes), tmp_path)
    assert status.exit_code == 0 and not any("job " in line for line in lines)
    assert all(r.peak_gb > 0 for r in status.participants["a"].nodes.values())


@pytest.mark.parametrize("late_by", [1.5, 60])
def test_files_that_show_late_are_waited_for_but_not_for_ever(
    slurm, tmp_path, monkeypatch, late_by
):
    seen = {}

    def outcome(self, number, found=JobFiles.outcome):
        content = found(self, number)
        if content:
            seen.setdefault(number, time.monotonic())
        return content if content and time.monotonic() - seen[number] > late_by else None

    monkeypatch.setattr(JobFiles, "outcome", outcome)
    settings = evolve(QUICK, tries=1, result_seconds=4)
    status, _, _ = run(*participants(a=[node(add_one, "first", number=1)]), tmp_path, settings)
    assert status.exit_code == (0 if late_by < 4 else 1)
    if status.exit_code:
        assert "ended without a result, with exit code 0" in status.summary()


def test_an_outage_of_the_controller_is_waited_for(cluster, tmp_path):
    cluster.stop_controller()
    driver = Driver(cluster, "chain", tmp_path)
    driver.wait_for(lambda: "SLURM does not answer" in driver.said())
    cluster.start_controller()
    driver.wait_for_job()
    cluster.stop_controller()
    driver.wait_for(lambda: driver.said().count("does not answer") == 2)
    driver.let_go()
    # the job ends meanwhile, and nobody says so
    time.sleep(3)
    cluster.start_controller()
    assert driver.wait() == 0, driver.said()
    assert "SLURM answers again" in driver.said()
    assert len(os.listdir(tmp_path / "marker")) == 1


def test_an_outage_without_end_ends_the_run(slurm, tmp_path, monkeypatch):
    config = (slurm.folder / "slurm.conf").read_text()
    (tmp_path / "slurm.conf").write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1", config))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    settings = evolve(QUICK, outage_seconds=3, cancel_tries=1)
    top, labels = participants(a=[node(add_one, "first", number=1)])
    status, _, seconds = run(top, labels, tmp_path, settings)
    assert status.exit_code == 1 and seconds < 60
    assert "SLURM has not answered for" in status.summary()


def test_a_driver_that_was_killed_finds_its_job(cluster, tmp_path):
    first = Driver(cluster, "chain", tmp_path)
    first.wait_for_job()
    first.process.kill()
    first.wait()
    second = Driver(cluster, "chain", tmp_path)
    second.wait_for(lambda: "is there already" in second.said())
    second.let_go()
    assert second.wait() == 0, second.said()
    assert len(os.listdir(tmp_path / "marker")) == 1
    assert second.record()["done"] == ["a"]


def jobs_of(cluster, folder: Path) -> list[str]:
    """Names of jobs in the queue that were submitted from a folder."""
    ours = {s.name.removeprefix("job-")[:12] for s in folder.rglob("job-*.sh")}
    return [name for name in cluster.job_names() if name.split(".")[-1] in ours]


def test_other_inputs_end_the_job_and_sigterm_ends_all(cluster, tmp_path):
    first = Driver(cluster, "chain", tmp_path, number=1)
    first.wait_for_job()
    first.process.kill()
    first.wait()
    (old,) = jobs_of(cluster, tmp_path)
    second = Driver(cluster, "chain", tmp_path, number=5)
    second.wait_for_job(more_than=1)
    (new,) = jobs_of(cluster, tmp_path)
    assert new != old and "is there already" not in second.said()
    second.process.send_signal(signal.SIGTERM)
    assert second.wait() != 0
    assert "Terminated" in second.said() and "cancelled" in second.said()
    deadline = time.monotonic() + 10
    while jobs_of(cluster, tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs_of(cluster, tmp_path) == []


def test_stop_on_first_crash_takes_back_the_others(slurm, tmp_path):
    from execution.slurm.driver import die, wait

    (tmp_path / "marker").mkdir()
    slow = node(wait, "slow", number=1, marker=str(tmp_path / "marker"))
    top, labels = participants(bad=[node(die, "broken", number=1)], good=[slow])
    settings = evolve(QUICK, tries=1)
    status, _, seconds = run(top, labels, tmp_path, settings, stop_on_first_crash=True)
    assert status.exit_code == 1 and seconds < 60
    assert "sub-good NOT FINISHED" in status.summary()
    deadline = time.monotonic() + 10
    while jobs_of(slurm, tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs_of(slurm, tmp_path) == []


@pytest.fixture(scope="session")
def ended(faults, cluster):
    """The record of the faults, once all have happened."""
    folder = faults.folder / "work/top_wf/slurm"

    def logs():
        return list(folder.glob("*sub_cancelled_wf*/job-*.log"))

    faults.wait_for(logs)
    cluster.call("scancel", logs()[0].stem.removeprefix("job-"))
    assert faults.wait(180) == 1, faults.said()
    return faults.record()


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("raises", "ValueError: this scan is broken"),
        ("exits", 'with exit code 7; its log ends: "about to end" (2 times)'),
        ("killed", "killed by SIGKILL (out of memory?)"),
        ("fat", "was killed for memory: raise --mem"),
        ("late", "was killed at its time limit: raise --time"),
        ("cancelled", "was cancelled by somebody (scancel)"),
        ("refused", "invalid partition specified: nowhere"),
    ],
)
def test_every_fault_is_named_as_what_it_was(ended, label, reason):
    assert reason in ended["failed"][label]["reason"]
    assert Path(ended["failed"][label]["crash_file"]).is_file()


def test_a_crash_file_quotes_the_log_of_the_job(ended):
    text = Path(ended["failed"]["exits"]["crash_file"]).read_text()
    assert "The log of job" in text and "about to end" in text


def test_faults_stop_no_other(ended, faults):
    assert set(ended["done"]) == {"good", "once", "gpu"}
    said = faults.said()
    assert said.count("with twice the memory") == 1
    assert "sub_once_wf.broken once more" in said


def test_a_node_gets_what_it_declares(ended, faults):
    from nipype.utils.filemanip import loadpkl

    result = faults.folder / "work/top_wf/sub_gpu_wf/ask/result_ask.pklz"
    cpus, megabytes, gpu, threads = loadpkl(result).outputs.out.split()
    # 0.2 GiB is what a node of Nipype's declares that says nothing
    assert (cpus, megabytes, gpu, threads) == ("2", "410", "0", "2")
