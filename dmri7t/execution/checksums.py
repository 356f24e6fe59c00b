"""Sizes and checksums of a node's files, kept beside its result: what is damaged is made again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dmri7t.files import content_hash, write_whole

RECORD = "checksums.json"
"""Name of the record in a node's folder; Nipype empties the folder before a node runs again."""


def keep_checksums(node: Any) -> None:
    """Write down size and SHA-256 of every file that a node has made.

    The files are told by their order among the node's outputs, not by their folders, so that
    folders may be moved.

    Raises
    ------
    OSError
        If one of them is gone, or the record cannot be written.
    """
    rows = [_describe(path) for path in output_files(node)]
    write_whole(Path(node.output_dir(), RECORD), json.dumps(rows))


def find_damaged(node: Any) -> str:
    """Name a file of a node that is gone or is not what was written; empty if all are whole.

    Where there is no record, as after a kill, files must be there; they are recorded now.
    """
    paths = output_files(node)
    missing = next((path for path in paths if not os.path.exists(path)), "")
    if missing:
        return missing
    try:
        rows = json.loads(Path(node.output_dir(), RECORD).read_text())
    except FileNotFoundError:
        keep_checksums(node)
        return ""
    except ValueError:
        return str(Path(node.output_dir(), RECORD))
    if len(rows) != len(paths):
        return str(Path(node.output_dir(), RECORD))
    for path, row in zip(paths, rows, strict=True):
        # the size is seen at once; only where it is right need all be read
        if os.path.isfile(path) and (os.path.getsize(path) != row[1] or _describe(path) != row):
            return path
    return ""


def output_files(node: Any) -> list[str]:
    """Absolute paths among the outputs of a node that has run, in order.

    Raises
    ------
    Exception
        Whatever Nipype raises where the result cannot be read.
    """
    outputs = node.result.outputs
    values = outputs.get() if outputs is not None else {}
    return [path for _, value in sorted(values.items()) for path in _paths(value)]


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str) and os.path.isabs(value):
        yield value


def _describe(path: str) -> list[Any]:
    if not os.path.isfile(path):
        return [os.path.basename(path), 0, ""]
    return [os.path.basename(path), os.path.getsize(path), content_hash(path)]
