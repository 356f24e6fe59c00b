"""What the command prints."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str) -> None:
    """Print a line at once."""
    _print(text, sys.stdout)


def complain(text: str, program: str = "dmri7t") -> None:
    """Print one line to standard error."""
    flush()
    _print(f"{program}: {' '.join(text.split())}", sys.stderr)


def flush() -> None:
    """Write what is still held back; nobody may be reading any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def _print(text: str, stream: TextIO) -> None:
    """Print; where nobody reads any more (``| head``) or the log's disk is full, go on without."""
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:
        print(text.encode(errors="backslashreplace").decode(), file=stream, flush=True)
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let a stream lead nowhere, also for the processes that are started from now on."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass
