"""What the command prints."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    sys.stdout.flush()
    print(f"dmri7t: {' '.join(text.split())}", file=sys.stderr, flush=True)
