"""Nipype plugin that uses the results of an earlier run and runs only what draws from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmri7t.execution.local import LocalPlugin
from dmri7t.execution.result import NodeResult, is_whole


class RedrawPlugin(LocalPlugin):
    """Run the nodes that may; every other must have its result from an earlier run.

    A participant of which any result is missing has failed, by name: no report of it is drawn.

    Parameters
    ----------
    may_run : callable
        Whether a node may run.
    args, kwargs
        Of :class:`dmri7t.execution.local.LocalPlugin`.
    """

    def __init__(self, may_run: Callable[[Any], bool], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._may_run = may_run
        self._refused: set[str] = set()
        self._refusing = False

    def _local_hash_check(self, jobid: int, graph: Any) -> bool:
        node = self.procs[jobid]
        if not self._may_run(node) and not self._has_result(node):
            self._refuse(jobid, graph)
            return True
        return super()._local_hash_check(jobid, graph)

    @staticmethod
    def _has_result(node: Any) -> bool:
        try:
            return all(node.is_cached()) and is_whole(node) and not node.interface.always_run
        except Exception:
            return False  # a result that cannot be checked does not count

    def _refuse(self, jobid: int, graph: Any) -> None:
        """Remove a node, and all that need it, from the run; give the reason once a participant."""
        label, name = self._status.split(self.procs[jobid].fullname)
        if label not in self._refused:
            self._refused.add(label)
            self._status.fail_before(
                label,
                f"{name} has no result of a finished run with this input and these options in the "
                "work folder, or its files are gone from the output folder; run without "
                "--reports-only",
            )
        self._refusing = True
        self._clean_queue(jobid, graph, result={"result": None, "traceback": []})
        self._refusing = False

    def _report_crash(self, node: Any, result: NodeResult | None = None) -> str:
        # a refusal is no crash
        return "" if self._refusing else super()._report_crash(node, result)
