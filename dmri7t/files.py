"""Files that appear whole or not at all, and folders that are gone afterwards."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PART = ".part-"
"""How the name of a file begins that is being written."""

NAME_LENGTH = 255
"""Longest name of a file in bytes; so it is on all file systems that are in use."""

TAIL_LENGTH = 150
"""Room in the name of a part for that of the file, beside host and process."""

SHORT_TAIL = 60
"""Bytes of a longer name that are kept."""

STALE_SECONDS = 3600
"""A part that nobody has written to for so long belongs to a process that was killed."""

CLOCK_SECONDS = 60
"""How far the clock of a file server may lie behind."""

LARGE = 1 << 20
"""Bytes from which on a file's hash is worth handing over to another process."""

MOST_HASHES = 4096
"""Hashes of files that a process keeps."""

FileState = tuple[str, int, int, int]
"""Path, size, time of the last change (ns) and inode of a file: another content changes it."""

_hashes: dict[FileState, str] = {}


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; it takes the final name only when all went well.

    The data are on the disk before the name is given: a full or failing disk raises here, and
    a machine that loses power leaves the file that was there before.

    Parameters
    ----------
    path : path
        Its folder is made where there is none. A file of this name is replaced.

    Yields
    ------
    Path
        In the same folder, with the same ending; unique among processes. The caller creates
        it, so that it has the permissions of any new file. It is removed after a failure.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> with scratch_folder() as folder:
    ...     (folder / "a.txt").write_text("before") and None
    ...     try:
    ...         with whole_file(folder / "a.txt") as part:
    ...             part.write_text("aft") and None
    ...             raise OSError("disk full")
    ...     except OSError as error:
    ...         print(error)
    ...     print([path.name for path in folder.iterdir()], (folder / "a.txt").read_text())
    disk full
    ['a.txt'] before
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tail = _tail(path.name)
    _remove_stale(path.parent.glob(f"{PART}*-{glob.escape(tail)}"))
    part = path.with_name(f"{PART}{socket.gethostname()}.{os.getpid()}-{tail}")
    try:
        yield part
        _to_disk(part)
        os.replace(part, path)
    except OSError as error:
        # a full disk does not say which file did not fit
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def place_file(source: Path | str, path: Path | str) -> None:
    """Give a finished file another name, which appears whole or not at all.

    Where a new file would lie on the same disk and have the same owner, group and permissions, it
    is the same file by a second name, which takes neither time nor room; elsewhere it is a copy.

    Parameters
    ----------
    source : path
    path : path
        Its folder is made where there is none. A file of this name is replaced.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be copied.

    Examples
    --------
    >>> with scratch_folder() as folder:
    ...     (folder / "a.txt").write_text("whole") and None
    ...     place_file(folder / "a.txt", folder / "b/a.txt")
    ...     (folder / "b/a.txt").read_text()
    'whole'
    """
    digest = _hashes.get(_state(source))
    with whole_file(path) as part:
        part.touch()
        if not _linked(source, part):
            shutil.copyfile(source, part)
    if digest is not None and Path(path).samefile(source):
        # it need not be read once more
        learn_hashes({_state(path): digest})


def _linked(source: Path | str, part: Path) -> bool:
    """Make an empty new file a second name of another, if that looks the same to everybody."""
    old, new = os.stat(source), os.stat(part)
    alike = ("st_dev", "st_uid", "st_gid", "st_mode")
    if any(getattr(old, name) != getattr(new, name) for name in alike):
        return False
    part.unlink()
    try:
        os.link(source, part)
    except OSError:
        # not every file system has second names
        return False
    return True


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a small file that appears whole or not at all, whoever else writes the same.

    Parameters
    ----------
    path : path
    content : str or bytes
        Text is written as UTF-8.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    # names of files may hold bytes that are no UTF-8
    encoded = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with whole_file(path) as part:
        part.write_bytes(encoded)


def strict_json(record: object) -> str:
    """Write as JSON that every parser reads: numbers are finite, text is UTF-8.

    Parameters
    ----------
    record : object
        Of dicts, lists, text, numbers; what is no finite number becomes null.

    Examples
    --------
    >>> print(strict_json({"snr": float("nan")}), end="")
    {
      "snr": null
    }
    """
    return json.dumps(_strict(record), indent=2, allow_nan=False) + "\n"


def _strict(value: object) -> object:
    if isinstance(value, dict):
        return {_strict(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        # bytes of a file's name that are no UTF-8
        return value.encode(errors="backslashreplace").decode()
    return value


def is_part(path: Path | str) -> bool:
    """Whether a file is still being written, or was when its process was killed.

    For those who list a folder by the ending of its files.
    """
    return os.path.basename(path).startswith(PART)


def remove_stale_parts(folder: Path | str) -> None:
    """Remove what killed processes left half-written below a folder.

    Who writes a file again removes its parts; nobody writes again what was already finished by
    the time that its writer was killed.

    Parameters
    ----------
    folder : path
        It need not exist.

    Raises
    ------
    OSError
        If one cannot be removed.
    """
    _remove_stale(Path(folder).rglob(f"{PART}*"))


@contextmanager
def scratch_folder(parent: Path | str | None = None) -> Iterator[Path]:
    """Give a new folder that is gone again afterwards, whatever happens.

    Parameters
    ----------
    parent : path, optional
        Folder to make it in; the system's folder for temporary files by default.
    """
    with TemporaryDirectory(dir=parent, prefix="scratch-") as folder:
        yield Path(folder)


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(path: Path | str) -> str:
    """SHA-256 of a file, computed once a process as long as the file is not touched."""
    state = _state(path)
    if state not in _hashes:
        learn_hashes({state: file_sha256(path)})
    return _hashes[state]


def _state(path: Path | str) -> FileState:
    stat = os.stat(path)
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino


def large_hashes() -> dict[FileState, str]:
    """Hashes of large files that :func:`content_hash` knows, to spare another process reading."""
    return {state: digest for state, digest in _hashes.items() if state[1] >= LARGE}


def learn_hashes(hashes: dict[FileState, str]) -> None:
    """Take over what :func:`large_hashes` gave in another process of this machine."""
    _hashes.update(hashes)
    while len(_hashes) > MOST_HASHES:
        # the oldest
        del _hashes[next(iter(_hashes))]


def _tail(name: str) -> str:
    """Name that a part has after its process: that of the file, shortened where it is long.

    The ending stays, for writers that choose a format by it.
    """
    encoded = os.fsencode(name)
    if len(encoded) <= TAIL_LENGTH:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{digest}{encoded[-SHORT_TAIL:].decode(errors='ignore')}"


def _to_disk(path: Path) -> None:
    """Wait until the system has written what it holds of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(parts: Iterable[Path]) -> None:
    for part in list(parts):
        if _is_stale(part):
            part.unlink(missing_ok=True)


def _is_stale(part: Path) -> bool:
    """Whether the process that wrote a part was killed; others may be writing the same file.

    Nothing but the age of the part tells this of a process on another machine.
    """
    try:
        written = part.stat().st_mtime
    except FileNotFoundError:
        # its writer has just given it the final name, and may make the next of this name any
        # moment: that one is not to be removed
        return False
    own = re.match(rf"{re.escape(PART + socket.gethostname())}\.(\d+)-", part.name)
    if own and not _may_write(int(own[1]), written):
        return True
    return time.time() - written > STALE_SECONDS


def _may_write(pid: int, written: float) -> bool:
    """Whether a process lives that can have written at that time."""
    import psutil

    try:
        process = psutil.Process(pid)
        # a container's first process may never wait for its children, which stay as zombies;
        # numbers are given out again
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not dead and process.create_time() < written + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
