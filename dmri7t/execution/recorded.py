"""What our plugins share: the outcome of every node is recorded, only whole results are cached."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.base import DistributedPluginBase

from dmri7t.execution.checksums import RECORD, keep_checksums
from dmri7t.execution.result import NodeResult, is_whole
from dmri7t.execution.status import RunStatus


class Recorded(DistributedPluginBase):
    """Base of our plugins, named before the plugin of Nipype's that they extend.

    Attributes
    ----------
    _status : RunStatus
        Takes note of every node.
    _measured : dict
        Seconds, peak memory and seconds of processors of nodes that have just ended, by full name.
    """

    _status: RunStatus
    _measured: dict[str, tuple[float, float, float]]

    def _note(self, node: Any, event: str) -> None:
        if event == "start":
            self._status.started(node.fullname)
        elif event == "end":
            if node.fullname in self._measured:
                self._keep_checksums(node)
            self._status.finished(node.fullname, *self._measured.pop(node.fullname, ()))

    def _measure(self, node: Any, result: NodeResult | None) -> None:
        """Keep what was measured of a node that ran."""
        if result is not None and "seconds" in result:
            measured = (result["seconds"], result["peak_gb"], result["cpu_seconds"])
            self._measured[node.fullname] = measured

    @staticmethod
    def _keep_checksums(node: Any) -> None:
        try:
            keep_checksums(node)
        except Exception:
            # without a record, the next run sees only whether the files are there
            Path(node.output_dir(), RECORD).unlink(missing_ok=True)

    def _report_crash(self, node: Any, result: NodeResult | None = None) -> str:
        # joined first: nipype appends to the list while it writes the crash file
        reason = "".join((result or {}).get("traceback") or "unknown reason")
        try:
            crash_file = super()._report_crash(node, result=result)
        except Exception:
            # a full disk: the failure counts all the same
            crash_file = ""
        self._status.failed(node.fullname, reason, crash_file)
        return crash_file

    def _local_hash_check(self, jobid: int, graph: Any) -> bool:
        """Take a cached result only if it is whole; a node that cannot be checked has failed."""
        node = self.procs[jobid]
        try:
            cached, updated = node.is_cached()
            if cached and updated and not is_whole(node):
                self._status.echo(f"{node.fullname}: its files are gone or damaged: once more")
                shutil.rmtree(node.output_dir(), ignore_errors=True)
        except Exception:
            lines = traceback.format_exc().splitlines(keepends=True)
            self._run_errors.append("".join(lines))
            self._clean_queue(jobid, graph, result={"result": None, "traceback": lines})
            return True
        return super()._local_hash_check(jobid, graph)
