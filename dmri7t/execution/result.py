"""What a node's run comes to, as Nipype's plugins hand it around."""

from __future__ import annotations

from typing import Any, TypedDict

from dmri7t.execution.checksums import find_damaged
from dmri7t.files import FileState


class NodeResult(TypedDict, total=False):
    """Result of a node in Nipype's form, with what we measure.

    ``traceback`` is None where all went well; then there are ``seconds``, ``peak_gb`` and
    ``cpu_seconds``, those of all threads together, and ``hashes`` of large files that were found
    on the way.
    ``result`` is always None: it is read from the node's folder.
    """

    result: None
    traceback: list[str] | None
    taskid: int
    seconds: float
    peak_gb: float
    cpu_seconds: float
    hashes: dict[FileState, str]


def failure(text: str) -> NodeResult:
    """Result of a node that failed, for a reason that ends with its last line."""
    return {"result": None, "traceback": text.splitlines(keepends=True)}


def is_whole(node: Any) -> bool:
    """Whether the result of a node that has run can be read and its files are what they were."""
    try:
        return not find_damaged(node)
    except Exception:
        return False
