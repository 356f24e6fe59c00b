"""Worker processes that run nodes, die with their driver, and whose death is noticed."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from dmri7t.execution.result import NodeResult, failure

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

LOGGERS = ("nipype.workflow", "nipype.interface", "nipype.utils")

PRELOAD = (
    "torch",
    "nipype.pipeline.engine",
    "nibabel",
    "scipy.ndimage",
    "monai.networks.nets",
)
"""Loaded once, in the server that workers are forked from; never in the driver."""


def warm_up(preload: Sequence[str] = PRELOAD) -> None:
    """Start the process that workers are forked from, so that its imports are done early.

    It never computes: a process forked after threads of OpenMP have started hangs. Call it
    first thing; later calls do nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        # libraries read these when they are loaded; every node sets its own number later
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        multiprocessing.forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Worker:
    """One process that runs nodes, one after another.

    Parameters
    ----------
    log_level : int
        Of nipype's loggers in the worker.
    """

    def __init__(self, log_level: int) -> None:
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, os.getcwd(), log_level), daemon=True
        )
        self._process.start()
        theirs.close()

    def send(self, node: Any, updatehash: bool, taskid: int) -> None:
        """Hand over a node.

        Raises
        ------
        OSError
            If the worker is gone.
        """
        self._connection.send((node, updatehash, taskid))

    def receive(self) -> NodeResult | None:
        """Result of the node, or nothing yet.

        Raises
        ------
        EOFError
            If the worker died before it had one.
        """
        try:
            return self._connection.recv() if self._connection.poll() else None
        except OSError as error:
            raise EOFError from error

    def ending(self) -> str:
        """Words for how the worker, which is gone or about to be, ended."""
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def stop(self) -> None:
        """End the worker at once, whatever it is doing."""
        self._connection.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join(5)


def _serve(connection: Connection, cwd: str, log_level: int) -> None:
    """Run nodes until the driver hangs up."""
    threading.Thread(target=_die_with_driver, daemon=True).start()
    # Ctrl-C goes to the whole group: the driver alone decides then
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.path.isdir(cwd):
        os.chdir(cwd)
    os.environ["NIPYPE_NO_ET"] = "1"
    from nipype import logging
    from nipype.pipeline.plugins.multiproc import run_node

    for name in LOGGERS:
        logging.getLogger(name).setLevel(log_level)
    while True:
        try:
            node, updatehash, taskid = connection.recv()
        except (EOFError, OSError):
            return
        pin_threads(node.n_procs)
        _reset_peak()
        start = time.perf_counter()
        try:
            result: NodeResult = run_node(node, updatehash, taskid)
        except BaseException as error:
            # nipype reads a failed node's result, and hides why it failed where that is gone too
            result = failure("".join(traceback.format_exception(error.__context__ or error)))
        # the driver reads results from the node's folder; this one need not pickle
        result["result"] = None
        result["seconds"] = time.perf_counter() - start
        result["peak_gb"] = peak_gb()
        connection.send(result)


def _die_with_driver() -> None:
    """Wait until the driver has ended, whatever ended it; then end too."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
    os._exit(1)


def pin_threads(n_threads: int) -> None:
    """Hold OpenMP, BLAS and torch to so many threads in this process."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(n_threads)


def _reset_peak() -> None:
    """Have Linux measure the peak memory of this process anew."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_gb() -> float:
    """Largest resident memory since ``_reset_peak``, GiB; 0 where Linux does not say."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 2**20
    except OSError:
        pass
    return 0.0
