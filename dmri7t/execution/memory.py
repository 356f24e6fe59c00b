"""Memory that a node frees is used again by it, not taken anew from the system page by page.

The allocator of Linux's C library gives large arrays back to the system as soon as they are freed,
and the system clears every page that is asked for again: of the processor seconds of a whole
participant that was 6 of 78. So freed memory stays with the process as long as a node runs.
"""

from __future__ import annotations

import ctypes
import functools

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of the GNU C library's settings, see mallopt(3)."""

MOST = 2**31 - 1
"""Bytes that may lie free at the end before they are given back: as many as the setting takes."""


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The C library, if it is one that can be told to keep memory."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed() -> None:
    """Have this process keep what it frees, also of large arrays, for what it asks for next."""
    if library := _library():
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, MOST)


def return_freed() -> None:
    """Give all memory that is free back to the system, for other processes."""
    if library := _library():
        library.malloc_trim(0)
