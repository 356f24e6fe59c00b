"""Nipype plugin for SLURM: a job a node, none lost, none doubled, none waited for in vain."""

from __future__ import annotations

import time
import traceback
from typing import Any

import attrs

from dmri7t.execution.pool import WorkerPool
from dmri7t.execution.recorded import Recorded
from dmri7t.execution.result import NodeResult, failure, is_whole
from dmri7t.execution.slurm.client import Ending, Job, Rejected, Slurm, Unreachable
from dmri7t.execution.slurm.diagnosis import Diagnosis, diagnose, never_starts
from dmri7t.execution.slurm.job import JobFiles
from dmri7t.execution.slurm.options import node_options, replace_by_name, split_options, uses_gpu
from dmri7t.execution.slurm.queue import Queue
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import ignore_signals, stop_if_signalled, stop_on_signals
from dmri7t.execution.workers import warm_up

DRIVER_PRELOAD = ("nipype.pipeline.engine",)
"""What cheap nodes need, which run beside the driver."""

DRIVER_WORKERS = 2
"""Cheap nodes at the same time."""


@attrs.define
class _Task:
    """A node and its job; times are of the monotonic clock, 0 where something has not happened."""

    node: Any
    updatehash: bool
    files: JobFiles | None = None
    number: str = ""
    submitted_at: float = 0.0
    asked_at: float = 0.0
    next_check: float = 0.0
    ended_at: float = 0.0
    ending: Ending | None = None
    attempts: int = 0
    lost: int = 0
    memory_factor: float = 1.0
    queue_reason: str = ""


class SlurmPlugin(Recorded):
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
        Of nipype's loggers for nodes beside the driver; a job's own log is always full.
    """

    def __init__(self, settings: SlurmSettings, status: RunStatus, log_level: int = 30) -> None:
        super().__init__({"max_jobs": settings.max_jobs, "status_callback": self._note})
        self._settings = settings
        self._status = status
        self._measured: dict[str, tuple[float, float, float]] = {}
        self._slurm = Slurm(settings.command_seconds)
        self._queue = Queue(self._slurm, settings.poll_seconds, self._echo)
        self._workers = WorkerPool(status, log_level, DRIVER_WORKERS)
        self._tasks: dict[int, _Task] = {}
        self._cheap: set[str] = set()
        self._last_taskid = 0

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; if it does not come to its end, no job is left in the queue."""
        self._status.expect([node.fullname for node in graph.nodes()])
        for node in graph.nodes():
            if node.run_without_submitting:
                # not in this process, which computes nothing and forks nothing
                node.run_without_submitting = False
                self._cheap.add(node.fullname)
        warm_up(DRIVER_PRELOAD)
        try:
            with stop_on_signals():
                super().run(graph, config, updatehash=updatehash)
        finally:
            self._workers.stop()
            self._cancel_all()

    def _echo(self, line: str) -> None:
        self._status.echo(f"{time.strftime('[%H:%M:%S]')} {line}")

    def _note(self, node: Any, event: str) -> None:
        # Nipype reports a start before it checks whether the node needs to run
        if event != "start":
            super()._note(node, event)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._status.started(node.fullname)
        self._last_taskid += 1
        self._tasks[self._last_taskid] = _Task(node, updatehash)
        if node.fullname in self._cheap:
            self._workers.submit(self._last_taskid, node, updatehash)
        return self._last_taskid

    def _clear_task(self, taskid: int) -> None:
        task = self._tasks.pop(taskid)
        if task.node.fullname in self._cheap:
            self._workers.forget(taskid)

    def _get_result(self, taskid: int) -> NodeResult | None:
        """Result of a node, or nothing yet; never an exception, which Nipype would mishandle."""
        stop_if_signalled()
        self._status.show()
        task = self._tasks[taskid]
        try:
            if task.node.fullname in self._cheap:
                result = self._workers.result(taskid)
            else:
                result = self._check(task)
        except Exception:
            result = failure(traceback.format_exc())
        self._measure(task.node, result)
        return result

    def _check(self, task: _Task) -> NodeResult | None:
        """Take a node's job one step further, if it is time."""
        if time.monotonic() < task.next_check:
            return None
        task.next_check = time.monotonic() + self._settings.watch_seconds
        if task.files is None:
            task.files = JobFiles.of(task.node)
        return self._follow(task, task.files) if task.number else self._submit(task, task.files)

    def _submit(self, task: _Task, files: JobFiles) -> NodeResult | None:
        """Find the node's job, or submit one."""
        # sbatch may fail and the job be taken all the same: look again after every attempt
        if not self._queue.refresh(newer_than=task.asked_at):
            return self._fail_after_outage()
        if jobs := self._queue.unfinished(f"dmri7t.{files.key}."):
            self._adopt(task, files, jobs)
            return None
        files.write(task.node, task.updatehash, self._settings.template)
        task.asked_at = time.monotonic()
        try:
            task.number = self._slurm.submit(self._options(task, files), files.script)
        except Rejected as error:
            return failure(f"sbatch refused the job of {task.node.fullname}: {error}\n")
        except Unreachable as error:
            self._queue.note_outage(str(error))
            task.next_check = task.asked_at + self._settings.retry_seconds
            return self._fail_after_outage()
        self._queue.note_answer()
        task.submitted_at = time.monotonic()
        self._echo(f"job {task.number}: {task.node.fullname}")
        return None

    def _fail_after_outage(self) -> NodeResult | None:
        seconds = self._queue.outage_seconds
        if seconds < self._settings.outage_seconds:
            return None
        return failure(f"SLURM has not answered for {seconds:.0f} s: {self._queue.trouble}\n")

    def _adopt(self, task: _Task, files: JobFiles, jobs: list[Job]) -> None:
        """Take over a job that an earlier driver submitted, or end it if it is outdated."""
        same = [job for job in jobs if job.name == files.job_name]
        others = [job.id for job in jobs if job not in same]
        if others:
            self._cancel(others)
            task.next_check = time.monotonic() + self._settings.poll_seconds
            return
        task.number = min((job.id for job in same), key=int)
        task.submitted_at = time.monotonic()
        self._echo(f"job {task.number} is there already: {task.node.fullname}")

    def _options(self, task: _Task, files: JobFiles) -> list[str]:
        settings, node = self._settings, task.node
        factor = settings.memory_factor * task.memory_factor
        ours = node_options(node, factor, settings.memory_base_gb) | {
            "--job-name": files.job_name,
            "--output": files.log_pattern,
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

    def _follow(self, task: _Task, files: JobFiles) -> NodeResult | None:
        """Look for the outcome of a job, and for its end."""
        outcome = files.outcome(task.number)
        if outcome and (outcome.traceback or is_whole(task.node)):
            return outcome.result()
        if not task.ended_at:
            if not self._queue.refresh(newer_than=task.submitted_at):
                return self._fail_after_outage()
            job = self._queue.get(task.number)
            if not outcome and job and not job.ended:
                return self._wait_in_queue(task, job)
            task.ended_at = time.monotonic()
        elif self._is_queued_again(task):
            task.ended_at = 0.0
            return None
        return self._after_end(task, files, ended_well=outcome is not None)

    def _is_queued_again(self, task: _Task) -> bool:
        """Whether SLURM runs a job once more that had ended."""
        job = self._queue.get(task.number) if self._queue.refresh() else None
        return job is not None and not job.ended

    def _after_end(self, task: _Task, files: JobFiles, ended_well: bool) -> NodeResult | None:
        """Wait for the files of a job that has ended; then say why they are missing."""
        if not ended_well and task.ending is None:
            # at once: the controller forgets it soon
            task.ending = self._slurm.ending(task.number)
        seconds = self._settings.result_seconds
        if time.monotonic() - task.ended_at < seconds:
            return None
        if ended_well:
            return failure(
                f"job {task.number} ended well, but its result in {task.node.output_dir()} cannot "
                f"be read {seconds:g} s later\n"
            )
        return self._retry(task, diagnose(task.number, task.ending or Ending(), files))

    def _wait_in_queue(self, task: _Task, job: Job) -> NodeResult | None:
        if job.state != "PENDING" or job.reason == task.queue_reason:
            return None
        task.queue_reason = job.reason
        if never_starts(job.reason):
            self._cancel([job.id])
            return failure(f"job {job.id} would never start: {job.reason}\n")
        if job.reason.startswith("JobHeld"):
            self._echo(f"job {job.id} ({task.node.fullname}) is held: {job.reason}")
        return None

    def _retry(self, task: _Task, diagnosis: Diagnosis) -> NodeResult | None:
        """Submit a job that left no outcome again where that may help; else the node has failed."""
        task.attempts += not diagnosis.lost
        task.lost += diagnosis.lost
        tried = task.lost if diagnosis.lost else task.attempts
        allowed = self._settings.lost if diagnosis.lost else self._settings.tries
        # the same memory again would end the same way
        final = diagnosis.final or (diagnosis.memory and not self._memory_is_ours(task.node))
        if final or tried >= allowed:
            times = f" ({tried} times)" if tried > 1 else ""
            return failure(f"{diagnosis.log}\n{diagnosis.reason}{times}\n")
        if diagnosis.memory:
            task.memory_factor *= 2
        more = ", with twice the memory" if diagnosis.memory else ""
        self._echo(f"{diagnosis.reason}; submitting {task.node.fullname} once more{more}")
        task.number, task.ended_at, task.ending = "", 0.0, None
        task.asked_at = time.monotonic()
        return None

    def _cancel(self, numbers: list[str]) -> None:
        try:
            self._slurm.cancel(numbers)
        except Unreachable as error:
            self._echo(f"scancel: {error}")

    def _cancel_all(self) -> None:
        """Cancel all jobs whose nodes have no result yet."""
        names = {t.files.job_name: t.number for t in self._tasks.values() if t.files}
        numbers = [number for number in names.values() if number]
        if not names:
            return
        with ignore_signals():
            for _ in range(self._settings.cancel_tries):
                try:
                    # sbatch may have been interrupted after the job was taken
                    queued = [j.id for j in self._slurm.jobs().values() if j.name in names]
                    self._slurm.cancel({*numbers, *queued})
                    self._echo(f"cancelled {len({*numbers, *queued})} jobs")
                    return
                except Unreachable as error:
                    trouble = str(error)
                    time.sleep(self._settings.retry_seconds)
        self._echo(f"jobs {' '.join(numbers)} could not be cancelled: {trouble}")
