"""Nipype plugin for this machine: workers that cannot be lost without notice."""

from __future__ import annotations

import gc
import logging
import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import PRELOAD, Worker, warm_up

ATTEMPTS = 2
"""How often a node is tried whose worker was killed."""


@dataclass
class _Task:
    node: Any
    updatehash: bool
    worker: Worker | None = None
    attempts: int = 0
    error: str = ""


class LocalPlugin(MultiProcPlugin):
    """Run nodes side by side on this machine; pass an instance to ``Workflow.run``.

    Differs from Nipype's MultiProc: workers come from a fork server that has torch loaded
    (the driver has not); a worker that is killed is noticed at once, its node tried once more
    and then failed by name, while others go on; workers end with the driver, however it ends;
    cached nodes whose outputs are gone or unreadable run again.

    Parameters
    ----------
    n_procs, memory_gb : int, float
        What all nodes together may use.
    n_gpus : int
        Nodes that may use a GPU at the same time.
    status : RunStatus
        Takes note of every node.
    log_level : int
        Of nipype's loggers in the workers.
    preload : sequence of str
        Modules that the fork server loads.
    """

    def __init__(
        self,
        n_procs: int,
        memory_gb: float,
        status: RunStatus,
        n_gpus: int = 0,
        log_level: int = logging.WARNING,
        preload: tuple[str, ...] = PRELOAD,
    ) -> None:
        super().__init__(
            plugin_args={
                "n_procs": n_procs,
                "memory_gb": memory_gb,
                "n_gpu_procs": n_gpus,
                "raise_insufficient": False,
                "status_callback": self._note,
            }
        )
        self.pool.shutdown()
        self.pool = None
        self._status = status
        self._log_level = log_level
        self._preload = preload
        self._tasks: dict[int, _Task] = {}
        self._idle: list[Worker] = []
        self._measured: dict[str, tuple[float, float]] = {}

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; whatever happens, no worker is left behind."""
        self._status.expect([node.fullname for node in graph.nodes()])
        warm_up(self._preload)
        # nipype collects garbage twice a node: what is there by now need not be looked at again
        gc.freeze()
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()
            self._stop_workers()

    def _postrun_check(self) -> None:
        self._stop_workers()

    def _stop_workers(self) -> None:
        busy = [task.worker for task in self._tasks.values() if task.worker]
        for worker in [*self._idle, *busy]:
            worker.stop()
        self._idle.clear()
        self._tasks.clear()

    def _note(self, node: Any, event: str) -> None:
        if event == "start":
            self._status.started(node.fullname)
        elif event == "end":
            self._status.finished(node.fullname, *self._measured.pop(node.fullname, ()))

    def _report_crash(self, node: Any, result: dict | None = None) -> str:
        # joined first: nipype appends to the list while it writes the crash file
        reason = "".join((result or {}).get("traceback") or "unknown reason")
        crash_file = super()._report_crash(node, result=result)
        self._status.failed(node.fullname, reason, crash_file)
        return crash_file

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        task = _Task(node, updatehash)
        self._tasks[self._taskid] = task
        self._dispatch(self._taskid, task)
        return self._taskid

    def _dispatch(self, taskid: int, task: _Task) -> None:
        """Hand a task to an idle worker, the warmest first, or to a new one."""
        while True:
            worker = self._idle.pop() if self._idle else Worker(self._log_level)
            try:
                worker.send(task.node, task.updatehash, taskid)
            except OSError:
                worker.stop()  # died while idle
                continue
            except Exception:
                task.error = traceback.format_exc()
                worker.stop()
                return
            task.worker = worker
            task.attempts += 1
            return

    def _get_result(self, taskid: int) -> dict | None:
        task = self._tasks[taskid]
        if task.error:
            return {"result": None, "traceback": task.error.splitlines(keepends=True)}
        try:
            result = task.worker.receive()
        except EOFError:
            self._bury(taskid, task)
            return None
        if result is not None:
            self._idle.append(task.worker)
            task.worker = None
            self._measured[task.node.fullname] = (result["seconds"], result["peak_gb"])
        return result

    def _bury(self, taskid: int, task: _Task) -> None:
        """Deal with a worker that died under a node: once more, then the node has failed."""
        fate = task.worker.fate()
        task.worker.stop()
        task.worker = None
        message = f"the process that ran {task.node.fullname} was {fate}"
        if fate.startswith("ended"):
            message = f"the process that ran {task.node.fullname} {fate}"
        if task.attempts < ATTEMPTS:
            self._status.echo(f"{message}; trying once more")
            self._dispatch(taskid, task)
            return
        hint = " (out of memory?)" if "SIGKILL" in fate else ""
        task.error = f"{message}, {task.attempts} times{hint}\n"

    def _clear_task(self, taskid: int) -> None:
        del self._tasks[taskid]

    def _local_hash_check(self, jobid: int, graph: Any) -> bool:
        """Take a cached result only if it is whole; a node that cannot be checked has failed."""
        node = self.procs[jobid]
        try:
            cached, updated = node.is_cached()
            if cached and updated and not _is_whole(node):
                shutil.rmtree(node.output_dir(), ignore_errors=True)
        except Exception:
            lines = traceback.format_exc().splitlines(keepends=True)
            self._run_errors.append("".join(lines))
            self._clean_queue(jobid, graph, result={"result": None, "traceback": lines})
            return True
        return super()._local_hash_check(jobid, graph)


def _is_whole(node: Any) -> bool:
    """Whether the result of a cached node can be read and all its files are there."""
    try:
        outputs = node.result.outputs
        values = outputs.get() if outputs is not None else {}
    except Exception:
        return False
    return all(_exists(value) for value in values.values())


def _exists(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_exists(item) for item in value)
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).exists()
    return True
