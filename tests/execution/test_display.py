"""How far a run is: counted truly, told in plain lines, or drawn on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from dmri7t.execution.display import PlainLines
from dmri7t.execution.status import RunStatus
from dmri7t.execution.tally import Tally
from dmri7t.progress import Step

WEIGHTS = {"fit": 3.0, "write": 1.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def describe(name):
    return Step(f"does {name}", WEIGHTS[name])


def status_of(display, echo, every_node=False):
    """A run of two participants, each with two nodes."""
    people = {"sub_01_wf": "01", "sub_02_wf": "02"}
    status = RunStatus(people, echo=echo, every_node=every_node, display=display)
    status.expect([f"top.{wf}.{name}" for wf in people for name in WEIGHTS])
    return status


def test_time_is_foretold_and_then_follows_the_pace_of_what_was_done(clock):
    tally = Tally(describe, foretold=60.0)
    tally.expect({"01": ["fit", "write"], "02": ["fit", "write"]})
    assert tally.left() == 60.0
    clock(10)
    assert tally.left() == 50.0
    tally.start("01", "fit")
    tally.end("01", "fit")
    # three of eight shares in ten seconds
    assert tally.fraction == 3 / 8 and tally.left() == pytest.approx(10 * 5 / 3)


def test_what_an_earlier_run_did_says_nothing_of_the_pace(clock):
    tally = Tally(describe)
    tally.expect({"01": ["fit", "write"]})
    tally.end("01", "fit", cached=True)
    assert tally.fraction == 0.0 and tally.left() is None
    assert tally.own["01"].fraction == 0.75


def test_only_steps_that_take_a_second_are_lines(clock):
    lines = []
    status = status_of(PlainLines(Tally(describe), lines.append), lines.append)
    status.started("top.sub_01_wf.fit")
    clock(0.9)
    status.show()
    assert lines == []
    clock(0.2)
    status.show()
    status.show()
    (line,) = lines
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] sub-01: does fit \(step 1 of 2\)", line)
    clock(30)
    status.finished("top.sub_01_wf.fit")
    status.started("top.sub_01_wf.write")
    clock(0.5)
    status.finished("top.sub_01_wf.write")
    assert [x.split(" ", 1)[1] for x in lines[1:]] == [
        "sub-01: done in 32 s; 1 of 2 participants done"
    ]


def test_failure_is_a_line_and_is_counted(clock):
    lines = []
    status = status_of(PlainLines(Tally(describe), lines.append), lines.append)
    status.started("top.sub_02_wf.fit")
    status.failed("top.sub_02_wf.fit", "Traceback\nValueError: no")
    assert len(lines) == 1 and "FAILED" in lines[0]
    assert status.display.tally.people() == "0 of 2 participants done, 1 failed"


def test_every_node_is_a_line_where_it_is_asked_for(clock):
    lines = []
    status = status_of(None, lines.append, every_node=True)
    status.started("top.sub_01_wf.fit")
    status.finished("top.sub_01_wf.fit")
    assert [line.split(" ", 1)[1] for line in lines] == [
        "sub-01 fit started",
        "sub-01 fit done in 0.0 s",
    ]


PROGRAM = """
import sys, time
from dmri7t.execution.display import LiveBars
from dmri7t.execution.status import RunStatus
from dmri7t.execution.tally import Tally
from dmri7t.progress import Step

people = {"sub_01_wf": "01"}
display = LiveBars(Tally(lambda name: Step(f"does [{name}]", 1.0), foretold=90.0))
status = RunStatus(people, echo=print, every_node=False, display=display)
status.expect(["top.sub_01_wf.fit", "top.sub_01_wf.write"])
status.started("top.sub_01_wf.fit")
time.sleep(0.5)
print("a line meanwhile")
print("to the file", file=sys.stderr)
status.finished("top.sub_01_wf.fit")
status.started("top.sub_01_wf.write")
time.sleep(0.5)
status.close()
print("after it")
"""


def on_terminal(words, **options):
    """Run on a terminal of 100 columns; what it showed there, and the exit code."""
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    running = subprocess.Popen(words, stdout=follower, stdin=follower, env=env, **options)
    os.close(follower)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    return shown.decode(), running.wait(60)


def test_bars_on_a_terminal_stand_below_lines_and_leave_none_behind(tmp_path):
    with open(tmp_path / "errors", "w") as errors:
        shown, code = on_terminal([sys.executable, "-c", PROGRAM], stderr=errors)
    assert code == 0, (tmp_path / "errors").read_text()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"0 of 1 participants done, 1 running, about \d\d s left", plain)
    assert "sub-01" in plain and "does [fit]" in plain and "50%" in plain
    assert plain.index("does [fit]") < plain.index("does [write]")
    assert "a line meanwhile" in plain
    # the bars are taken away, line by line, before anything else is written
    after = shown.rpartition("does [write]")[2].partition("after it")[0]
    assert "\x1b[2K" in after and "\x1b[1A" in after and "━" not in after.rpartition("\x1b[1A")[2]
    assert (tmp_path / "errors").read_text() == "to the file\n"
