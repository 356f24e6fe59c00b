"""Limits of the allocation."""

import os

from dmri7t.execution import limits


def test_within_the_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    assert 1 <= limits.processors() <= len(os.sched_getaffinity(0))
    assert 0 < limits.memory_gb() < 1e5


def test_slurm_allocation(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "512")
    assert limits.processors() == 1
    assert limits.memory_gb() == 0.5
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert limits.memory_gb() == 200 / 1024
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2(x3)")
    assert limits.processors() >= 1


def test_cgroup_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_cgroup_folders", lambda controller: [tmp_path])
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(str(3 * 2**20))
    assert limits.processors() == 1
    assert limits.memory_gb() == 3 / 1024
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.memory_gb() > 0.1
