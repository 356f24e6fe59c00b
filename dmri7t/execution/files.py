"""Files that others read while they are written."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all, whoever else writes the same."""
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    os.replace(partial, path)
