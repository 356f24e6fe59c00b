"""Runs that always end, and end truthfully: faults are injected into real worker processes."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from nipype import Node, Workflow
from nipype.interfaces.utility import Function

from dmri7t.execution.limits import Resources
from dmri7t.execution.pool import WorkerPool
from dmri7t.execution.run import run_workflow
from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import Worker, warm_up

LIGHT = ("nipype.pipeline.engine",)


def add_one(number):
    return number + 1


def touch(number, folder):
    """Count how often this ran, in files."""
    import os
    import tempfile

    tempfile.mkstemp(dir=folder, prefix="ran")
    path = os.path.abspath("value.txt")
    with open(path, "w") as file:
        file.write(str(number + 1))
    return path


def read(path):
    with open(path) as file:
        return int(file.read())


def kill_self(number, times, marker):
    """Be killed the first ``times`` times."""
    import os
    import signal
    import tempfile

    if len(os.listdir(marker)) < times:
        tempfile.mkstemp(dir=marker)
        os.kill(os.getpid(), signal.SIGKILL)
    return number + 1


def fail(number):
    raise ValueError("this scan is broken")


def threads(folder):
    """Write down what libraries are held to, and what torch then uses."""
    import os

    import torch

    with open(os.path.join(folder, "threads"), "w") as file:
        file.write(f"{os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()}")
    return 0


def slow(folder):
    import os
    import time

    with open(os.path.join(folder, "pid"), "w") as file:
        file.write(str(os.getpid()))
    time.sleep(120)
    return 0


def node(function, name, outputs=("out",), n_procs=1, **inputs):
    made = Node(Function(function=function, output_names=list(outputs)), name, n_procs=n_procs)
    made.inputs.trait_set(**inputs)
    return made


def participants(**graphs):
    """A workflow with one sub-workflow a participant."""
    top = Workflow("top_wf")
    for label, nodes in graphs.items():
        part = Workflow(f"sub_{label}_wf")
        part.add_nodes(nodes)
        for before, after in pairwise(nodes):
            part.connect(before, "out", after, "number")
        top.add_nodes([part])
    return top, {f"sub_{label}_wf": label for label in graphs}


def run(top, labels, tmp_path, n_procs=2, **options):
    lines = []
    status = RunStatus(echo=lines.append)
    start = time.monotonic()
    status = run_workflow(
        top,
        labels,
        Resources(n_procs=n_procs, memory_gb=4),
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "logs",
        status=status,
        preload=LIGHT,
        **options,
    )
    return status, lines, time.monotonic() - start


def test_chain_runs_and_times_itself(tmp_path):
    top, labels = participants(a=[node(add_one, "first", number=1), node(add_one, "second")])
    status, lines, _ = run(top, labels, tmp_path)
    assert status.exit_code == 0 and status.summary() == "sub-a done"
    record = json.loads((tmp_path / "work/top_wf/sub_a_wf/status.json").read_text())
    assert [n["name"] for n in record["nodes"]] == ["first", "second"]
    assert all(n["state"] == "done" and n["peak_gb"] > 0 for n in record["nodes"])
    assert all(n["cpu_seconds"] > 0 for n in record["nodes"])
    assert any("first started" in line for line in lines)
    assert any("second done in" in line for line in lines)


def test_those_that_most_wait_for_go_first_one_participant_after_another(tmp_path):
    """Though a lone node comes first in the graph."""
    lone, other = (node(add_one, name, number=1) for name in ("lone", "b"))
    top, labels = participants(a=[lone], b=[other])
    part = top.get_node("sub_a_wf")
    chain = [node(add_one, "first", number=1), node(add_one, "second")]
    part.connect(chain[0], "out", chain[1], "number")
    status, lines, _ = run(top, labels, tmp_path, n_procs=1)
    assert status.exit_code == 0, status.summary()
    started = [line.split()[-2] for line in lines if line.endswith(" started")]
    assert started[0] == "first" and set(started[:3]) == {"first", "second", "lone"}
    assert started[3] == "b"


def test_the_next_node_starts_as_soon_as_one_ends(tmp_path, monkeypatch):
    """Though nothing is looked at for a minute."""
    from dmri7t.execution import local

    monkeypatch.setattr(local, "POLL_SECONDS", 60.0)
    chain = [node(add_one, "first", number=1), *(node(add_one, name) for name in "abc")]
    top, labels = participants(a=chain)
    status, _, seconds = run(top, labels, tmp_path)
    assert status.exit_code == 0 and seconds < 50


def test_killed_worker_becomes_a_failed_node(tmp_path):
    (tmp_path / "marker").mkdir()
    deadly = node(kill_self, "deadly", number=1, times=9, marker=str(tmp_path / "marker"))
    top, labels = participants(
        bad=[deadly, node(add_one, "after")],
        good=[node(add_one, "first", number=1), node(add_one, "second")],
    )
    status, _, seconds = run(top, labels, tmp_path)
    assert seconds < 30
    assert status.exit_code == 1
    assert status.participants["good"].done
    (failure,) = status.participants["bad"].failures
    assert failure.node == "deadly"
    assert "SIGKILL" in failure.reason and "2 times" in failure.reason
    assert "sub_bad_wf.deadly" in Path(failure.crash_file).read_text()
    assert len(os.listdir(tmp_path / "marker")) == 2


def test_worker_killed_once_is_replaced(tmp_path):
    (tmp_path / "marker").mkdir()
    deadly = node(kill_self, "deadly", number=1, times=1, marker=str(tmp_path / "marker"))
    top, labels = participants(a=[deadly, node(add_one, "after")])
    status, lines, _ = run(top, labels, tmp_path)
    assert status.exit_code == 0
    assert any("trying once more" in line for line in lines)


def test_a_node_whose_worker_was_killed_gets_a_new_one_and_no_idle_one(tmp_path):
    (tmp_path / "marker").mkdir()
    warm_up(("nipype.pipeline.engine",))
    pool = WorkerPool(RunStatus(echo=lambda line: None), logging.WARNING)
    try:
        first = node(add_one, "first", number=1)
        first.base_dir = str(tmp_path)
        pool.submit(1, first, False)
        deadly = node(kill_self, "deadly", number=1, times=1, marker=str(tmp_path / "marker"))
        deadly.base_dir = str(tmp_path)
        taken = Worker(logging.WARNING)
        while pool.result(1) is None:
            pool.wait(1)
        (idle,) = pool._idle
        pool._idle.append(taken)
        pool.submit(2, deadly, False)
        while (result := pool.result(2)) is None:
            pool.wait(1)
        assert not result["traceback"] and len(os.listdir(tmp_path / "marker")) == 1
        assert idle in pool._idle and taken not in pool._idle and len(pool._idle) == 2
    finally:
        pool.stop()


def test_failure_stops_only_its_own_participant(tmp_path):
    top, labels = participants(
        bad=[node(fail, "broken", number=1), node(add_one, "after")],
        good=[node(add_one, "first", number=1), node(add_one, "second")],
    )
    status, _, _ = run(top, labels, tmp_path)
    assert status.exit_code == 1 and status.participants["good"].done
    assert "ValueError: this scan is broken" in status.summary()
    assert [n.state for n in status.participants["bad"].nodes.values()] == ["failed"]


def test_stop_on_first_crash(tmp_path):
    top, labels = participants(
        bad=[node(fail, "broken", number=1)],
        good=[node(slow, "sleeper", folder=str(tmp_path))],
    )
    status, _, seconds = run(top, labels, tmp_path, stop_on_first_crash=True)
    assert seconds < 30 and status.exit_code == 1
    assert "sub-good NOT FINISHED: stopped" in status.summary()


def counted(tmp_path):
    nodes = [node(touch, "write", number=1, folder=str(tmp_path / "ran")), node(read, "read")]
    top = Workflow("top_wf")
    part = Workflow("sub_a_wf")
    part.connect(nodes[0], "out", nodes[1], "path")
    top.add_nodes([part])
    return top, {"sub_a_wf": "a"}


def test_second_run_computes_nothing_and_remembers_times(tmp_path):
    (tmp_path / "ran").mkdir()
    run(*counted(tmp_path), tmp_path)
    status, lines, _ = run(*counted(tmp_path), tmp_path)
    assert status.exit_code == 0
    assert len(os.listdir(tmp_path / "ran")) == 1
    assert sum("is up to date" in line for line in lines) == 2
    nodes = status.participants["a"].nodes.values()
    assert all(n.seconds > 0 and n.state == "cached" for n in nodes)


@pytest.mark.parametrize("damage", ["truncated result", "output gone"])
def test_damaged_cache_is_computed_again(tmp_path, damage):
    (tmp_path / "ran").mkdir()
    run(*counted(tmp_path), tmp_path)
    folder = tmp_path / "work/top_wf/sub_a_wf/write"
    if damage == "truncated result":
        file = folder / "result_write.pklz"
        file.write_bytes(file.read_bytes()[:20])
    else:
        # this kind of node hides the file behind a plain string: it is checked all the same
        (folder / "value.txt").unlink()
    status, _, _ = run(*counted(tmp_path), tmp_path)
    assert status.exit_code == 0
    assert len(os.listdir(tmp_path / "ran")) == 2


def test_threads_follow_the_node(tmp_path):
    top, labels = participants(a=[node(threads, "threads", n_procs=2, folder=str(tmp_path))])
    run(top, labels, tmp_path)
    assert (tmp_path / "threads").read_text() == "2 2"


DRIVER = """
import sys
sys.path[:0] = {path!r}
import test_run
if __name__ == "__main__":
    from pathlib import Path
    top, labels = test_run.participants(a=[test_run.node(test_run.slow, "slow", folder={folder!r})])
    test_run.run(top, labels, Path({folder!r}))
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_driver(tmp_path, death):
    script = tmp_path / "driver.py"
    path = [os.path.dirname(__file__), *sys.path]
    script.write_text(DRIVER.format(path=path, folder=str(tmp_path)))
    driver = subprocess.Popen([sys.executable, str(script)])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.2)
        worker = int((tmp_path / "pid").read_text())
        assert alive(worker)
    finally:
        driver.send_signal(death)
        driver.wait(10)
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)
