"""Text files of laboratories: any byte-order mark, and why one cannot be read."""

from __future__ import annotations

import codecs
import errno
import json
from pathlib import Path
from typing import Any

from dmri7t.errors import InputError

DIGITS = 300
"""Numbers of more digits are larger than any float."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by the mark that a file begins with; Windows' editors and shells leave these."""

REMEDIES = {
    errno.EACCES: "permission denied; get the right to read it",
    errno.EPERM: "not permitted; get the right to read it",
    errno.ENOENT: "is missing; add it",
    errno.EISDIR: "is a folder; put the file in its place",
    errno.EIO: "the disk cannot be read; see whether it is sound",
}
"""What an error of the operating system means, and what to do."""


def why_unreadable(error: OSError) -> str:
    """Say why a file cannot be read, and what to do.

    Examples
    --------
    >>> why_unreadable(PermissionError(13, "Permission denied"))
    'permission denied; get the right to read it'
    """
    reason = error.strerror or str(error)
    return REMEDIES.get(error.errno or 0, f"cannot be read ({reason}); copy it again")


def read_text(path: Path | str) -> str:
    """Read a text file, in UTF-8 or in what its byte-order mark says.

    Raises
    ------
    InputError
        If it cannot be read, or is no text.
    """
    try:
        content = Path(path).read_bytes()
        # the longest marks first: one of UTF-32 begins as one of UTF-16
        marks = sorted(MARKS, key=len, reverse=True)
        encoding = next((MARKS[mark] for mark in marks if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except OSError as error:
        raise InputError(f"{path}: {why_unreadable(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text ({error.reason}); convert it to UTF-8") from error


def _whole(digits: str) -> int | float:
    """A whole number; infinite where no other program could hold it."""
    return int(digits) if len(digits) <= DIGITS else float(digits)


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    InputError
        If it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_text(path), parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); mend it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object ({{...}}); mend it")
    return content
