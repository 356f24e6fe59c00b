"""What a node's run comes to, as Nipype's plugins hand it around."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict


class NodeResult(TypedDict, total=False):
    """Result of a node in Nipype's form, with what we measure.

    ``traceback`` is None where all went well; then there are ``seconds`` and ``peak_gb``.
    ``result`` is always None: it is read from the node's folder.
    """

    result: None
    traceback: list[str] | None
    taskid: int
    seconds: float
    peak_gb: float


def failure(text: str) -> NodeResult:
    """Result of a node that failed, for a reason that ends with its last line."""
    return {"result": None, "traceback": text.splitlines(keepends=True)}


def is_whole(node: Any) -> bool:
    """Whether the result of a node that has run can be read and all its files exist."""
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
