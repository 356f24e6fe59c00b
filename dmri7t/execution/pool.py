"""Nodes handed to worker processes of this machine, each of which may die."""

from __future__ import annotations

import time
from multiprocessing.connection import wait
from typing import Any

import attrs

from dmri7t.execution.limits import address_space_gb
from dmri7t.execution.reasons import details_of, reason_of
from dmri7t.execution.result import NodeResult, failure
from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import Worker

POLL_SECONDS = 0.05
"""So long at most a driver looks at nothing: Nipype's two seconds would be paid at every node of a
chain."""

ATTEMPTS = 2
"""How often a node is tried whose worker was killed."""

ADDRESSES_GB = 8
"""Libraries of a worker take so many GiB of addresses at most, few of them memory."""


@attrs.define
class _Task:
    node: Any
    updatehash: bool
    worker: Worker | None = None
    attempts: int = 0
    error: str = ""


class WorkerPool:
    """Workers, and the nodes that they run.

    A worker that is killed is noticed at once; its node is tried once more and has then failed.

    Parameters
    ----------
    status : RunStatus
        Gets a line for every worker that was killed.
    log_level : int
        Of nipype's loggers in the workers.
    limit : int, optional
        Workers at the same time; others wait.
    """

    def __init__(self, status: RunStatus, log_level: int, limit: int | None = None) -> None:
        self._status = status
        self._log_level = log_level
        self._limit = limit
        self._tasks: dict[int, _Task] = {}
        self._idle: list[Worker] = []

    def submit(self, taskid: int, node: Any, updatehash: bool) -> None:
        """Take on a node under a number of the caller's."""
        self._tasks[taskid] = _Task(node, updatehash)
        if self._has_room():
            self._dispatch(taskid, self._tasks[taskid])

    def result(self, taskid: int) -> NodeResult | None:
        """Result of a node, or nothing yet."""
        task = self._tasks[taskid]
        if not task.worker and not task.error and self._has_room():
            self._dispatch(taskid, task)
        if task.error:
            return failure(task.error)
        if not task.worker:
            return None
        try:
            result = task.worker.receive()
        except EOFError:
            self._replace(taskid, task, task.worker)
            return None
        if result is not None:
            self._idle.append(task.worker)
            task.worker = None
        return result

    def wait(self, seconds: float) -> None:
        """Wait until any worker has a result or is gone, so long at most."""
        busy = [task.worker.connection for task in self._tasks.values() if task.worker]
        if busy:
            wait(busy, seconds)
        else:
            time.sleep(seconds)

    def node(self, taskid: int) -> Any:
        """Node that was taken on under a number."""
        return self._tasks[taskid].node

    def forget(self, taskid: int) -> None:
        """Drop a node whose result was taken."""
        del self._tasks[taskid]

    def stop(self) -> None:
        """End all workers at once, whatever they are doing."""
        busy = [task.worker for task in self._tasks.values() if task.worker]
        for worker in [*self._idle, *busy]:
            worker.stop()
        self._idle.clear()
        self._tasks.clear()

    def _has_room(self) -> bool:
        busy = sum(task.worker is not None for task in self._tasks.values())
        return self._limit is None or busy < self._limit

    def _dispatch(self, taskid: int, task: _Task, *, anew: bool = False) -> None:
        """Hand a task to an idle worker, the warmest first, or to a new one."""
        while True:
            try:
                idle = self._idle and not anew
                worker = self._idle.pop() if idle else Worker(self._log_level)
            except Exception as error:
                task.error = f"{details_of(error)}\n{_why_no_worker(error)}\n"
                return
            try:
                worker.send(task.node, task.updatehash, taskid)
            except OSError:
                worker.stop()  # died while idle
                continue
            except Exception as error:
                task.error = details_of(error)
                worker.stop()
                return
            task.worker = worker
            task.attempts += 1
            return

    def _replace(self, taskid: int, task: _Task, worker: Worker) -> None:
        """Try a node whose worker died once more; then the node has failed."""
        ending = worker.ending()
        worker.stop()
        task.worker = None
        message = f"the process that ran {task.node.fullname} {ending}"
        if task.attempts < ATTEMPTS:
            self._status.echo(f"{message}; trying once more")
            # what killed the one may be killing all that there are
            self._dispatch(taskid, task, anew=True)
            return
        hints = {"SIGKILL": " (out of memory?)", "SIGBUS": " (disk full?)"}
        hint = next((text for name, text in hints.items() if name in ending), _memory_limit())
        task.error = f"{message}, {task.attempts} times{hint}\n"


def _why_no_worker(error: Exception) -> str:
    """Say why no process could be started; the server that starts them does not tell."""
    reason = f"no process could be started for a node ({reason_of(error)})"
    other = "; are memory, processes and the current folder what they should be?"
    return f"{reason}{_memory_limit() or other}"


def _memory_limit() -> str:
    """Say that memory is limited, where that may be why; empty where it is not."""
    limit = address_space_gb()
    if limit >= ADDRESSES_GB:
        return ""
    return f": memory is limited to {limit:.2g} GiB (ulimit -v); raise this limit"
