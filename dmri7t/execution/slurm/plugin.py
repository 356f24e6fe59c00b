"""Nipype plugin for SLURM: a job a node, none lost, none doubled, none waited for in vain."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nipype.pipeline.plugins.base import DistributedPluginBase

from dmri7t.execution.pool import WorkerPool
from dmri7t.execution.recorded import Recorded, is_whole
from dmri7t.execution.slurm.client import Ending, Job, Rejected, Slurm, Unreachable
from dmri7t.execution.slurm.job import JobFiles
from dmri7t.execution.slurm.options import node_options, replace_by_name, split_options, uses_gpu
from dmri7t.execution.slurm.outcome import Fate, judge, never_starts
from dmri7t.execution.slurm.queue import Queue
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import stop_if_told, told_to_stop
from dmri7t.execution.workers import warm_up

HEAD_PRELOAD = ("nipype.pipeline.engine",)
"""What cheap nodes need, which run beside the head."""

HEAD_WORKERS = 2
"""Cheap nodes at the same time."""


@dataclass
class _Task:
    node: Any
    updatehash: bool
    files: JobFiles | None = None
    number: str = ""
    submitted: float = 0.0
    asked: float = 0.0
    look_at: float = 0.0
    ended_at: float = 0.0
    ending: Ending | None = None
    attempts: int = 0
    lost: int = 0
    memory: float = 1.0
    noted: str = ""


class SlurmPlugin(Recorded, DistributedPluginBase):
    """Run every node as a job of SLURM; pass an instance to ``Workflow.run``.

    A node's job writes its outcome beside the node, and only that, with a result that can be
    read, is success. The controller is asked only which jobs have ended without one; that it does
    not answer says nothing about them. Nodes marked ``run_without_submitting`` run in a process
    beside this one.

    Parameters
    ----------
    settings : SlurmSettings
    status : RunStatus
        Takes note of every node.
    log_level : int
        Of nipype's loggers for nodes beside the head; a job's own log is always full.
    """

    def __init__(self, settings: SlurmSettings, status: RunStatus, log_level: int = 30) -> None:
        super().__init__({"max_jobs": settings.max_jobs, "status_callback": self._note})
        self._settings = settings
        self._status = status
        self._measured = {}
        self._slurm = Slurm(settings.command_seconds)
        self._queue = Queue(self._slurm, settings.poll_seconds, self._say)
        self._workers = WorkerPool(status, log_level, HEAD_WORKERS)
        self._tasks: dict[int, _Task] = {}
        self._here: set[str] = set()
        self._last = 0

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; if it does not come to its end, no job is left in the queue."""
        self._status.expect([node.fullname for node in graph.nodes()])
        for node in graph.nodes():
            if node.run_without_submitting:
                # not in this process, which computes nothing and forks nothing
                node.run_without_submitting = False
                self._here.add(node.fullname)
        warm_up(HEAD_PRELOAD)
        try:
            with told_to_stop():
                super().run(graph, config, updatehash=updatehash)
        finally:
            self._workers.stop()
            self._cancel_all()

    def _say(self, line: str) -> None:
        self._status.echo(f"{time.strftime('[%H:%M:%S]')} {line}")

    def _note(self, node: Any, event: str) -> None:
        # Nipype says that a node starts before it looks whether that is needed
        if event != "start":
            super()._note(node, event)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._status.started(node.fullname)
        self._last += 1
        self._tasks[self._last] = _Task(node, updatehash)
        if node.fullname in self._here:
            self._workers.submit(self._last, node, updatehash)
        return self._last

    def _clear_task(self, taskid: int) -> None:
        task = self._tasks.pop(taskid)
        if task.node.fullname in self._here:
            self._workers.forget(taskid)

    def _get_result(self, taskid: int) -> dict | None:
        """Result of a node, or nothing yet; never an exception, which Nipype would mishandle."""
        stop_if_told()
        task = self._tasks[taskid]
        try:
            if task.node.fullname in self._here:
                result = self._workers.result(taskid)
            elif time.monotonic() < task.look_at:
                return None
            else:
                task.look_at = time.monotonic() + self._settings.watch_seconds
                result = self._follow(task) if task.number else self._submit(task)
        except Exception:
            result = _failure(traceback.format_exc())
        if result is not None and "seconds" in result:
            self._measured[task.node.fullname] = (result["seconds"], result["peak_gb"])
        return result

    def _submit(self, task: _Task) -> dict | None:
        """Find the node's job, or submit one."""
        task.files = task.files or JobFiles.of(task.node)
        # sbatch may fail and the job be taken all the same: look again after every attempt
        if not self._queue.look(newer_than=task.asked):
            return self._give_up_waiting()
        if living := self._queue.living(f"dmri7t.{task.files.key}."):
            return self._adopt(task, living)
        task.files.write(task.node, task.updatehash, self._settings.template)
        task.asked = time.monotonic()
        try:
            task.number = self._slurm.submit(self._options(task), task.files.script)
        except Rejected as error:
            return _failure(f"sbatch refused the job of {task.node.fullname}: {error}\n")
        except Unreachable as error:
            self._queue.gone(str(error))
            task.look_at = task.asked + self._settings.retry_seconds
            return self._give_up_waiting()
        self._queue.back()
        task.submitted = time.monotonic()
        self._say(f"job {task.number}: {task.node.fullname}")
        return None

    def _give_up_waiting(self) -> dict | None:
        if self._queue.away_for() < self._settings.outage_seconds:
            return None
        away = f"SLURM has not answered for {self._queue.away_for():.0f} s"
        return _failure(f"{away}: {self._queue.trouble}\n")

    def _adopt(self, task: _Task, living: list[Job]) -> None:
        """Take over a job that a head before this one submitted, or end it if it is outdated."""
        same = [job for job in living if job.name == task.files.job_name]
        others = [job.id for job in living if job not in same]
        if others:
            self._slurm_cancel(others)
            task.look_at = time.monotonic() + self._settings.poll_seconds
            return
        task.number = min((job.id for job in same), key=int)
        task.submitted = time.monotonic()
        self._say(f"job {task.number} is there already: {task.node.fullname}")

    def _options(self, task: _Task) -> list[str]:
        settings, node = self._settings, task.node
        ours = node_options(node, settings.memory_factor * task.memory, settings.memory_base_gb)
        ours |= {
            "--job-name": task.files.job_name,
            "--output": task.files.log_pattern,
            "--open-mode": "append",
            # were two jobs of a node taken nevertheless, the second finds the first one's result
            "--dependency": "singleton",
        }
        theirs = self._users_options(node)
        return [*replace_by_name(ours, [*settings.directives, *theirs]), *theirs]

    def _users_options(self, node: Any) -> list[str]:
        """Options from the plugin file, and those that a node carries in Nipype's way."""
        settings = self._settings
        own = node.plugin_args or {}
        options = [] if own.get("overwrite") else list(settings.sbatch_args)
        options += settings.gpu_sbatch_args if uses_gpu(node) else ()
        return [*options, *split_options(own.get("sbatch_args", ""))]

    def _memory_is_ours(self, node: Any) -> bool:
        theirs = [*self._settings.directives, *self._users_options(node)]
        return bool(replace_by_name({"--mem": ""}, theirs))

    def _follow(self, task: _Task) -> dict | None:
        """See what became of a job."""
        now, settings = time.monotonic(), self._settings
        outcome = task.files.outcome(task.number)
        if outcome and (outcome["traceback"] or is_whole(task.node)):
            return {"result": None, **outcome}
        if not task.ended_at:
            if not self._queue.look(newer_than=task.submitted):
                return self._give_up_waiting()
            job = self._queue.get(task.number)
            if not outcome and job and not job.ended:
                return self._wait_in_queue(task, job)
            task.ended_at = now
        elif (job := self._queue.look() and self._queue.get(task.number)) and not job.ended:
            task.ended_at = 0.0  # SLURM has queued it again
            return None
        if not outcome and task.ending is None:
            # at once: the controller forgets it soon
            task.ending = self._slurm.ending(task.number)
        if now - task.ended_at < settings.result_seconds:
            return None
        if outcome:
            folder = task.node.output_dir()
            return _failure(
                f"job {task.number} ended well, but its result in {folder} cannot be read "
                f"{settings.result_seconds:g} s later\n"
            )
        return self._bury(task, judge(task.number, task.ending, task.files))

    def _wait_in_queue(self, task: _Task, job: Job) -> dict | None:
        if job.state != "PENDING" or job.reason == task.noted:
            return None
        task.noted = job.reason
        if never_starts(job.reason):
            self._slurm_cancel([job.id])
            return _failure(f"job {job.id} would never start: {job.reason}\n")
        if job.reason.startswith("JobHeld"):
            self._say(f"job {job.id} ({task.node.fullname}) is held: {job.reason}")
        return None

    def _bury(self, task: _Task, fate: Fate) -> dict | None:
        """A job that left no outcome: submit it again where that may help."""
        task.attempts += not fate.lost
        task.lost += fate.lost
        tried = task.lost if fate.lost else task.attempts
        allowed = self._settings.lost if fate.lost else self._settings.tries
        # the same memory again would end the same way
        final = fate.final or (fate.memory and not self._memory_is_ours(task.node))
        if not final and tried < allowed:
            if fate.memory:
                task.memory *= 2
            more = ", with twice the memory" if fate.memory else ""
            self._say(f"{fate.reason}; submitting {task.node.fullname} once more{more}")
            task.number, task.ended_at, task.ending = "", 0.0, None
            task.asked = time.monotonic()
            return None
        times = f" ({tried} times)" if tried > 1 else ""
        return _failure(f"{fate.log}\n{fate.reason}{times}\n")

    def _slurm_cancel(self, numbers: list[str]) -> bool:
        try:
            self._slurm.cancel(numbers)
        except Unreachable as error:
            self._say(f"scancel: {error}")
            return False
        return True

    def _cancel_all(self) -> None:
        """Take back all jobs whose nodes have no result yet."""
        names = {t.files.job_name: t.number for t in self._tasks.values() if t.files}
        numbers = [number for number in names.values() if number]
        if not names:
            return
        with _deaf():
            for _ in range(self._settings.cancel_tries):
                try:
                    # sbatch may have been broken off after the job was taken
                    living = [j.id for j in self._slurm.jobs().values() if j.name in names]
                    self._slurm.cancel({*numbers, *living})
                    self._say(f"cancelled {len({*numbers, *living})} jobs")
                    return
                except Unreachable as error:
                    trouble = str(error)
                    time.sleep(self._settings.retry_seconds)
        self._say(f"jobs {' '.join(numbers)} could not be cancelled: {trouble}")


def _failure(text: str) -> dict:
    return {"result": None, "traceback": text.splitlines(keepends=True)}


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no second signal break off what must be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
