"""What our plugins share: every node's fate is recorded, and only whole results are cached."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

from dmri7t.execution.status import RunStatus


class Recorded:
    """Mixed into a plugin of Nipype's, before it.

    Attributes
    ----------
    _status : RunStatus
        Takes note of every node.
    _measured : dict
        Seconds and peak memory of nodes that have just ended, by full name.
    """

    _status: RunStatus
    _measured: dict[str, tuple[float, float]]

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

    def _local_hash_check(self, jobid: int, graph: Any) -> bool:
        """Take a cached result only if it is whole; a node that cannot be checked has failed."""
        node = self.procs[jobid]
        try:
            cached, updated = node.is_cached()
            if cached and updated and not is_whole(node):
                shutil.rmtree(node.output_dir(), ignore_errors=True)
        except Exception:
            lines = traceback.format_exc().splitlines(keepends=True)
            self._run_errors.append("".join(lines))
            self._clean_queue(jobid, graph, result={"result": None, "traceback": lines})
            return True
        return super()._local_hash_check(jobid, graph)


def is_whole(node: Any) -> bool:
    """Whether the result of a node that has run can be read and all its files are there."""
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
