"""Two runs at once: the second is told at once, whatever became of the first it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import attrs
import pytest

from dmri7t.errors import InputError
from dmri7t.execution.locks import SILENT_SECONDS, Holder, hold_participants, lock_file

HOLD = (
    "import sys, time; from pathlib import Path\n"
    "from dmri7t.execution.locks import hold_participants\n"
    "with hold_participants(sys.argv[2:], [Path(sys.argv[1])]):\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds sub-01 in a folder."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "logs"), "01"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_is_at_work(other, tmp_path):
    start = time.monotonic()
    with pytest.raises(InputError) as caught, hold_participants(["01"], [tmp_path / "logs"]):
        pass
    assert time.monotonic() - start < 5
    said = str(caught.value)
    assert "another run uses this folder for sub-01" in said and f"process {other.pid}" in said
    assert lock_file(tmp_path / "logs", "01").exists()


def test_other_participants_of_the_folder_are_free(other, tmp_path):
    with hold_participants(["02", "03"], [tmp_path / "logs"]):
        assert lock_file(tmp_path / "logs", "03").exists()
    assert [p.name for p in (tmp_path / "logs").iterdir()] == [".sub-01.lock"]


def test_one_that_is_held_lets_go_of_those_before_it(other, tmp_path):
    with pytest.raises(InputError), hold_participants(["00", "01"], [tmp_path / "logs"]):
        pass
    with hold_participants(["00"], [tmp_path / "logs"]):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_run_is_taken_over(other, tmp_path, number):
    other.send_signal(number)
    other.wait()
    with hold_participants(["01"], [tmp_path / "logs"]):
        held = json.loads(lock_file(tmp_path / "logs", "01").read_text())
        assert held["pid"] == os.getpid()
    assert not (tmp_path / "logs").exists()


def leave_lock(folder, **changes):
    """A lock that a run left there which no longer holds it."""
    folder.mkdir()
    holder = attrs.evolve(Holder.this(), **changes)
    path = lock_file(folder, "01")
    path.write_text(json.dumps(attrs.asdict(holder)))
    return path


def test_the_lock_of_another_machine_is_refused_with_the_remedy(tmp_path):
    path = leave_lock(tmp_path / "logs", host="node7", boot="another", pid=4)
    with pytest.raises(InputError) as caught, hold_participants(["01"], [tmp_path / "logs"]):
        pass
    assert "process 4 on node7" in str(caught.value) and f"delete {path}" in str(caught.value)
    assert path.exists()
    path.unlink()
    with hold_participants(["01"], [tmp_path / "logs"]):
        pass


def test_another_machine_that_has_long_been_silent_is_dead(tmp_path):
    path = leave_lock(tmp_path / "logs", host="node7", boot="another")
    then = time.time() - SILENT_SECONDS - 1
    os.utime(path, (then, then))
    with hold_participants(["01"], [tmp_path / "logs"]):
        pass


def test_a_machine_that_was_started_anew_runs_none_of_before(tmp_path):
    leave_lock(tmp_path / "logs", boot="before", pid=1)
    with hold_participants(["01"], [tmp_path / "logs"]):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}'])
def test_a_lock_that_says_nothing_is_nobodys(tmp_path, content):
    (tmp_path / "logs").mkdir()
    lock_file(tmp_path / "logs", "01").write_text(content)
    with hold_participants(["01"], [tmp_path / "logs"]):
        pass


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "logs").write_text("x")
    with (
        pytest.raises(InputError, match="logs: cannot be made: .*in the way"),
        hold_participants(["01"], [tmp_path / "logs"]),
    ):
        pass


def test_long_labels_have_locks_of_their_own(tmp_path):
    labels = ["x" * 240 + end for end in "ab"]
    with hold_participants(labels, [tmp_path / "logs"]):
        assert len(list((tmp_path / "logs").iterdir())) == 2
