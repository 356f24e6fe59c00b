"""A real SLURM for the tests of this package, started by the first that asks for it."""

from __future__ import annotations

import pytest
from execution.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    """A SLURM of one node; skipped by name where its programs are missing."""
    if programs := missing():
        pytest.skip(f"SLURM is not installed here: {', '.join(programs)}")
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def slurm(cluster, monkeypatch):
    """The same, found by SLURM's commands in this process."""
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    return cluster
