"""Signals are never missed, not even where a library swallows what they raise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from nipype import Node, Workflow
from nipype.interfaces.utility import Function

from dmri7t.errors import Terminated
from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import stop_if_signalled, stop_on_signals


def wait(seconds):
    import time

    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_whose_exception_is_swallowed_ends_the_run(number, raised, tmp_path):
    def swallow(line):
        if "started" in line:
            try:
                os.kill(os.getpid(), number)
                time.sleep(0.1)
            except BaseException:
                swallowed.append(line)

    swallowed, before = [], signal.getsignal(number)
    workflow = Workflow("wf")
    node = Node(Function(["seconds"], ["out"], wait), name="node")
    node.inputs.seconds = 60.0
    workflow.add_nodes([node])
    begun = time.monotonic()
    with pytest.raises(raised), stop_on_signals():
        run_workflow(
            workflow,
            {"wf": "01"},
            Resources(n_procs=1, memory_gb=4),
            work_dir=tmp_path / "work",
            log_dir=tmp_path / "logs",
            status=RunStatus(echo=swallow),
            preload=("nipype.pipeline.engine",),
        )
    assert swallowed and time.monotonic() - begun < 50
    # a signal to one run does not stop the next, and the handlers are as before
    stop_if_signalled()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_command_that_is_ending_leaves_its_exit_code(number):
    ending = (
        "import os, signal, sys\n"
        "from dmri7t.execution.stop import stop_on_signals\n"
        "try:\n"
        "    with stop_on_signals(last=True):\n"
        f"        os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "except KeyboardInterrupt:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    sys.exit(130)\n"
    )
    assert subprocess.run([sys.executable, "-c", ending]).returncode == 130
