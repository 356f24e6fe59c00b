"""A job a node on a real SLURM, which is disturbed in all the ways that clusters know."""

from __future__ import annotations

import time

import pytest
from execution.test_run import add_one, node, participants

from dmri7t.execution.run import run_workflow
from dmri7t.execution.slurm_settings import SlurmSettings
from dmri7t.execution.status import RunStatus

pytestmark = pytest.mark.slow

QUICK = SlurmSettings(
    memory_factor=1.0,
    memory_base_gb=0.2,
    poll_seconds=0.5,
    watch_seconds=0.1,
    result_seconds=2.0,
    retry_seconds=1.0,
    outage_seconds=60.0,
    command_seconds=20.0,
)


def run(top, labels, folder, settings=QUICK, **options):
    lines = []
    start = time.monotonic()
    status = run_workflow(
        top,
        labels,
        work_dir=folder / "work",
        log_dir=folder / "logs",
        nprocs=1,
        mem_gb=1,
        status=RunStatus(echo=lines.append),
        where=settings,
        **options,
    )
    return status, lines, time.monotonic() - start


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
