"""Worker processes that run nodes, die with their driver, and whose death is noticed."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from dmri7t.execution.memory import keep_freed, return_freed
from dmri7t.execution.result import NodeResult, failure
from dmri7t.files import large_hashes, learn_hashes

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

LOGGERS = ("nipype.workflow", "nipype.interface", "nipype.utils")

SOCKET_FOLDER = 75
"""Longest path of a folder, in bytes, in which a socket can have a name."""

SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
"""Where sockets lie instead, the first that can be written."""

PRELOAD = (
    "torch",
    "nipype.pipeline.engine",
    "nibabel",
    "scipy.ndimage",
    "dipy.reconst.shm",
    "dipy.segment.mask",
    "monai.networks.nets",
)
"""Loaded once, in the server that workers are forked from; never in the driver."""


def warm_up(preload: Sequence[str] = PRELOAD) -> None:
    """Start the process that workers are forked from, so that its imports are done early.

    It never computes: a process forked after threads of OpenMP have started hangs. Call it
    first thing; later calls do nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dmri7t.execution.loading", *preload])
    place_sockets()
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    # Ctrl-C goes to the whole group: the server would print a traceback while it still loads. What
    # is blocked here stays so there, and reaches the driver a moment later; the tracker, started
    # first, blocks and unblocks by itself
    multiprocessing.resource_tracker.ensure_running()
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        # libraries read these when they are loaded; every node sets its own number later
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def place_sockets() -> None:
    """Have the server's socket lie where its name is short enough, whatever ``TMPDIR`` is.

    The system takes 107 bytes, and Python makes 32 of them itself.
    """
    if len(os.fsencode(tempfile.gettempdir())) <= SOCKET_FOLDER:
        return
    usable = (folder for folder in SHORT_FOLDERS if os.access(folder, os.W_OK | os.X_OK))
    before = tempfile.tempdir
    try:
        tempfile.tempdir = next(usable, before)
        # made once a process, and removed when it ends
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = before


def cool_down() -> None:
    """End that process at once, also while it still loads modules: nobody is forked any more."""
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_pid is None:
        return
    # Python would miss it when it ends, where it was deleted in the meantime
    os.makedirs(multiprocessing.util.get_temp_dir(), exist_ok=True)
    try:
        os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()
    except OSError:
        # it is gone already, or its socket is
        return


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
        # the driver has read every result before another node gets it
        self._connection.send((node, updatehash, taskid, large_hashes()))

    def receive(self) -> NodeResult | None:
        """Result of the node, or nothing yet.

        Raises
        ------
        EOFError
            If the worker died before it had one.
        """
        try:
            result: NodeResult | None = None
            if self._connection.poll():
                result = self._connection.recv()
                learn_hashes(result.pop("hashes", {}))
            return result
        except OSError as error:
            raise EOFError from error

    @property
    def connection(self) -> Connection:
        """Can be waited for: it is ready when the worker has a result or is gone."""
        return self._connection

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
    # what the server has loaded stays: to look for garbage in it costs time, and memory of each
    # worker's own, since marks are written on the way
    gc.freeze()
    gc.enable()
    threading.Thread(target=_die_with_driver, daemon=True).start()
    # Ctrl-C goes to the whole group: the driver alone decides then
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.path.isdir(cwd):
        os.chdir(cwd)
    os.environ["NIPYPE_NO_ET"] = "1"
    # makes the loggers
    from nipype import logging as nipype_logging
    from nipype.pipeline.plugins.multiproc import run_node

    for name in LOGGERS:
        nipype_logging.getLogger(name).setLevel(log_level)
    quiet_libraries(log_level)
    keep_freed()
    while True:
        try:
            node, updatehash, taskid, hashes = connection.recv()
        except (EOFError, OSError):
            return
        learn_hashes(hashes)
        pin_threads(node.n_procs)
        _reset_peak()
        start, worked = time.perf_counter(), time.process_time()
        try:
            result: NodeResult = run_node(node, updatehash, taskid)
        except BaseException as error:
            # nipype reads a failed node's result, and hides why it failed where that is gone too
            result = failure("".join(traceback.format_exception(error.__context__ or error)))
        # the driver reads results from the node's folder; this one need not pickle
        result["result"] = None
        result["seconds"] = time.perf_counter() - start
        result["peak_gb"] = peak_gb()
        return_freed()
        result["cpu_seconds"] = time.process_time() - worked
        result["hashes"] = {s: digest for s, digest in large_hashes().items() if s not in hashes}
        try:
            connection.send(result)
        except OSError:
            # the driver hung up while the node ran: nobody waits for it
            return


def quiet_libraries(log_level: int) -> None:
    """Let libraries warn of nothing unless a log was asked for: what matters, errors say."""
    quiet = log_level > logging.INFO
    warnings.simplefilter("ignore" if quiet else "default")
    # an interrupt may come between the opening of a file and its closing
    warnings.simplefilter("ignore", ResourceWarning)
    for name in ("nibabel.global", "matplotlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL if quiet else logging.NOTSET)


def _die_with_driver() -> None:
    """Wait until the driver has ended, whatever ended it; then end too."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
    os._exit(1)


def pin_threads(n_threads: int) -> None:
    """Hold OpenMP, BLAS and torch to so many threads in this process, with the bits of one."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    # read before the first product: its last bits are the same then by any number of threads
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
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
