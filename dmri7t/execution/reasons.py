"""Why something failed, as one plain sentence with what to do, out of an exception or its text."""

from __future__ import annotations

import errno
import re
import traceback

_NO_ROOM = "No space left on the disk; make room, and run the same command again"

REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: "your quota of disk space is used up; make room, and run the same command again",
    errno.EFBIG: "larger than a file may be here (ulimit -f, or the file system); allow more",
    errno.ENOMEM: "out of memory; allow more, or try --low-mem",
    errno.EACCES: "permission denied; get the right to read it, and to write where dmri7t writes",
    errno.EPERM: "not permitted; get the right to read it, and to write where dmri7t writes",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "is not there (moved or deleted in mid-run?); put it back, and run again",
    errno.ENOTDIR: "a file is in the way where a folder is needed; move it away",
    errno.EEXIST: "a file is in the way where a folder is needed; move it away",
    errno.EISDIR: "a folder is in the way where a file is needed; move it away",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.ELOOP: "links that lead in a circle; mend them",
    errno.EIO: "the disk cannot be read or written (input/output error); see whether it is sound",
    errno.ESTALE: "the file server has lost it; run again",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine; raise its limit",
    errno.EAGAIN: "no more processes or threads may be started; raise the limit (ulimit -u)",
}
"""What an error of the operating system means for a user, and what to do."""

_SYSTEM_ERROR = re.compile(
    r"^(?:[\w.]+\.)?\w+: \[Errno (\d+)\] (.*?)(?:: (['\"])(.*?)\3)?"
    r"(?: -> (['\"])(.*?)\5)?$",
    re.DOTALL,
)

_NO_FILE = re.compile(r"TraitError: .*existing (?:file|directory).*?'(/[^']+)'", re.DOTALL)
"""What Nipype says of an input that is gone."""

_NO_FOLDER = re.compile(r'OSError: path "(.+)" should be a directory')
"""What Nipype says of a file that has the name of a node's folder."""

_OTHERS = (
    (r"MemoryError\b|DefaultCPUAllocator: (?:can't|not enough) ", REMEDIES[errno.ENOMEM]),
    (r"CUDA out of memory|OutOfMemoryError", "out of memory of the GPU; try --low-mem"),
    (r"RecursionError\b", "something is nested too deeply to be read; look for a broken JSON file"),
    (r"can't start new thread", REMEDIES[errno.EAGAIN]),
)


def plain_reason(text: str) -> str:
    """Last line of a traceback, without the exception's module, as a user can read it.

    Parameters
    ----------
    text : str
        A whole traceback or its last line.

    Examples
    --------
    >>> plain_reason("Traceback:\\n  File x\\ndmri7t.errors.InputError: a.bval is missing\\n")
    'a.bval is missing'
    >>> plain_reason("Traceback:\\n  File x\\nValueError: no\\n")
    'ValueError: no'
    >>> plain_reason("FileNotFoundError: /scratch/result_prepare.pklz")[:48]
    '/scratch/result_prepare.pklz: is not there (move'
    >>> plain_reason('OSError: path "/scratch/prepare" should be a directory')
    '/scratch/prepare: a file is in the way where a folder is needed; move it away'
    >>> plain_reason("OSError: [Errno 28] No space left on device: '/out/a.nii.gz'")
    '/out/a.nii.gz: No space left on the disk; make room, and run the same command again'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "unknown reason"
    last = re.sub(r"^dmri7t\.errors\.\w+: ", "", last)
    if match := _SYSTEM_ERROR.match(last):
        number, meaning, path = int(match[1]), match[2], match[6] or match[4]
        return f"{path}: " * bool(path) + REMEDIES.get(number, meaning)
    if match := _NO_FILE.search(last) or re.match(r"FileNotFoundError: (/.*)$", last):
        return f"{match[1]}: {REMEDIES[errno.ENOENT]}"
    if match := _NO_FOLDER.search(last):
        return f"{match[1]}: {REMEDIES[errno.ENOTDIR]}"
    for pattern, sentence in _OTHERS:
        if re.search(pattern, last):
            return f"{sentence} ({last})"
    return last


def reason_of(error: BaseException) -> str:
    """Say in one line why an exception was raised.

    Examples
    --------
    >>> reason_of(PermissionError(13, "Permission denied", "/data/sub-01"))[:32]
    '/data/sub-01: permission denied;'
    >>> reason_of(KeyError("ranges"))
    "KeyError: 'ranges'"
    """
    text = "".join(traceback.format_exception_only(type(error), error))
    # a message of several lines is joined: the last of them alone might say nothing
    return plain_reason(" ".join(text.split()))


def details_of(error: BaseException) -> str:
    """Give the whole traceback of an exception, for a crash file."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
