"""One run at a time for a participant in a folder: others are told at once who is at work."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from dmri7t.errors import InputError
from dmri7t.execution.reasons import reason_of

BEAT_SECONDS = 30.0
"""How often a run shows in its locks that it is alive."""

SILENT_SECONDS = 600.0
"""A run on another machine that has shown nothing for so long has died."""

LABEL_LENGTH = 60
"""Labels that are longer are shortened in the name of a lock."""

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems say that know no locks."""


@attrs.frozen
class Holder:
    """Which run holds a lock.

    Parameters
    ----------
    host : str
    boot : str
        Of the machine's running system: containers share it, and a restart changes it.
    pid : int
    started : str
        When the run started, in words.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> Holder:
        """This process."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            boot = ""
        return cls(socket.gethostname(), boot, os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))

    def is_near(self) -> bool:
        """Whether the system shows of it whether it is alive: it is this machine's."""
        this = Holder.this()
        return self.host == this.host or bool(self.boot and self.boot == this.boot)


@contextmanager
def hold_participants(labels: Iterable[str], folders: Iterable[Path]) -> Iterator[None]:
    """Hold participants in some folders as long as a run works on them.

    Parameters
    ----------
    labels : iterable of str
    folders : iterable of Path
        Made where they are missing; removed again where they are empty in the end.

    Raises
    ------
    InputError
        If another run holds one of them, or a folder cannot be written.
    """
    with ExitStack() as stack:
        held: list[int] = []
        for folder in folders:
            stack.enter_context(_present(folder))
            for label in labels:
                held.append(stack.enter_context(_hold(folder, label)))
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(held, ended), daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()


def lock_file(folder: Path, label: str) -> Path:
    """Where the lock of a participant lies in a folder."""
    short = label
    if len(os.fsencode(label)) > LABEL_LENGTH:
        digest = hashlib.sha256(os.fsencode(label)).hexdigest()[:12]
        short = f"{label[:20]}-{digest}"
    return folder / f".sub-{short}.lock"


@contextmanager
def _present(folder: Path) -> Iterator[None]:
    """Make a folder; remove it, and those above it that were made with it, if they stay empty."""
    new = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {reason_of(error)}") from error
    try:
        yield
    finally:
        for path in new or [folder]:
            try:
                path.rmdir()
            except OSError:
                break


@contextmanager
def _hold(folder: Path, label: str) -> Iterator[int]:
    path = lock_file(folder, label)
    try:
        descriptor = _take(path, label)
    except OSError as error:
        raise InputError(
            f"{path}: this run cannot make its lock: {reason_of(error)}; if another user's run "
            "left it there and is over, delete it."
        ) from error
    try:
        yield descriptor
    finally:
        # before it is let go, so that nobody gets a file that is about to vanish
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path, label: str) -> int:
    """Open and lock the file, and write into it who holds it."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # a run that has just ended removed the empty folder
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            alone = _lock(descriptor)
            holder = _read(descriptor)
            if not alone or (holder and _is_alive(holder, descriptor)):
                raise InputError(_refusal(path, label, holder))
            if not _is_same(path, descriptor):
                # its holder removed it while it was being opened
                os.close(descriptor)
                continue
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(attrs.asdict(Holder.this())).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _lock(descriptor: int) -> bool:
    """Lock a file as long as this process lives, if nobody else does.

    Where the file system knows no locks, what the file says must do.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return True
    return True


def _read(descriptor: int) -> Holder | None:
    """Who holds a lock; nobody where the file is new, or was written by half."""
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _is_alive(holder: Holder, descriptor: int) -> bool:
    """Whether a run that does not lock the file, as far as the system shows, is alive all the same.

    A dead process holds no lock. Another machine's lock may not be seen, nor any where the file
    system knows none.
    """
    if holder.is_near():
        this = Holder.this()
        # in another container the number says nothing, but there the lock itself would show
        return holder.host == this.host and holder.boot == this.boot and _lives(holder)
    return time.time() - os.fstat(descriptor).st_mtime < SILENT_SECONDS


def _lives(holder: Holder) -> bool:
    """Whether a process of this machine is the holder: numbers are given out again."""
    import psutil

    if holder.pid == os.getpid():
        return False
    try:
        process = psutil.Process(holder.pid)
        begun = time.mktime(time.strptime(holder.started, "%Y-%m-%d %H:%M:%S"))
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < begun + 1
    except (psutil.Error, ValueError):
        return False


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _refusal(path: Path, label: str, holder: Holder | None) -> str:
    who = ""
    remedy = "wait for it, or give this run other folders"
    if holder:
        who = f" (process {holder.pid} on {holder.host}, since {holder.started})"
        if not holder.is_near():
            remedy += f"; if that run is dead, delete {path}"
    return f"{path.parent}: another run uses this folder for sub-{label}{who}; {remedy}."


def _beat(descriptors: list[int], ended: threading.Event) -> None:
    """Show that this run is alive, until it has ended."""
    while not ended.wait(BEAT_SECONDS):
        for descriptor in descriptors:
            try:
                os.utime(descriptor)
            except OSError:
                continue
