"""Nipype plugin for this machine: workers that cannot be lost without notice."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

import networkx as nx
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from dmri7t.execution.limits import Resources
from dmri7t.execution.pool import POLL_SECONDS, WorkerPool
from dmri7t.execution.recorded import Recorded
from dmri7t.execution.result import NodeResult
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import stop_if_signalled
from dmri7t.execution.workers import PRELOAD, warm_up


def longest_chains(graph: Any) -> dict[Any, int]:
    """Number of nodes on the longest way from each node of a graph to an end, itself included.

    Examples
    --------
    >>> graph = nx.DiGraph([("prepare", "encode"), ("encode", "report"), ("prepare", "report")])
    >>> longest_chains(graph)
    {'report': 1, 'encode': 2, 'prepare': 3}
    """
    chains: dict[Any, int] = {}
    for node in reversed(list(nx.topological_sort(graph))):
        chains[node] = 1 + max((chains[after] for after in graph.successors(node)), default=0)
    return chains


class LocalPlugin(Recorded, MultiProcPlugin):
    """Run nodes side by side on this machine; pass an instance to ``Workflow.run``.

    Differs from Nipype's MultiProc: workers come from a fork server that has torch loaded
    (the driver has not); a worker that is killed is noticed at once, its node tried once more
    and then failed by name, while others go on; workers end with the driver, however it ends;
    cached nodes whose outputs are gone or unreadable run again. Of nodes that could run, those
    of the first participant go first, and of these the one that most others wait for; and the
    next one starts as soon as one ends.

    Parameters
    ----------
    resources : Resources
        What all nodes together may use.
    status : RunStatus
        Takes note of every node.
    log_level : int
        Of nipype's loggers in the workers.
    preload : sequence of str
        Modules that the fork server loads.
    """

    def __init__(
        self,
        resources: Resources,
        status: RunStatus,
        log_level: int = logging.WARNING,
        preload: tuple[str, ...] = PRELOAD,
    ) -> None:
        super().__init__(
            plugin_args={
                "n_procs": resources.n_procs,
                "memory_gb": resources.memory_gb,
                "n_gpu_procs": resources.n_gpus,
                "raise_insufficient": False,
                "status_callback": self._note,
            }
        )
        # nipype's own workers
        self.pool.shutdown()
        self.pool: Any = None
        self._status = status
        self._preload = preload
        self._workers = WorkerPool(status, log_level)
        self._measured: dict[str, tuple[float, float, float]] = {}
        self._ranks: dict[str, tuple[int, int]] = {}

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; whatever happens, no worker is left behind."""
        self._status.expect([node.fullname for node in graph.nodes()])
        self._rank(graph)
        for node in graph.nodes():
            # this process computes nothing, and a failure there would be taken for a result
            node.run_without_submitting = False
        warm_up(self._preload)
        # nipype collects garbage twice a node: what is there by now need not be looked at again
        gc.freeze()
        # Nipype would sleep, and not see what ends meanwhile: this plugin waits itself
        config = {**config, "execution": {**config["execution"], "poll_sleep_duration": 0}}
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()
            self._workers.stop()

    def _rank(self, graph: Any) -> None:
        """Decide which of the nodes that could run goes first."""
        chains = longest_chains(graph)
        first: dict[str, int] = {}
        for node in graph.nodes():
            label, _ = self._status.split(node.fullname)
            self._ranks[node.fullname] = (first.setdefault(label, len(first)), -chains[node])

    def _sort_jobs(self, jobids: Sequence[int], scheduler: str | None = None) -> list[int]:
        return sorted(jobids, key=lambda job: self._ranks[self.procs[job].fullname])

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        if self.pending_tasks:
            self._workers.wait(POLL_SECONDS)

    def _postrun_check(self) -> None:
        self._workers.stop()

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        self._workers.submit(self._taskid, node, updatehash)
        return self._taskid

    def _get_result(self, taskid: int) -> NodeResult | None:
        stop_if_signalled()
        self._status.show()
        node = self._workers.node(taskid)
        result = self._workers.result(taskid)
        self._measure(node, result)
        return result

    def _clear_task(self, taskid: int) -> None:
        self._workers.forget(taskid)
