"""A file that one thread writes while others read as far as it has come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from dmri7t.errors import Dmri7tError, InputError


class Arriving:
    """What is decompressed into a file, block by block; its beginning is there before its end.

    Parameters
    ----------
    blocks : iterator of bytes
        What is written. An exception that it raises is raised by whoever waits for what is
        missing.
    plain : Path
        The file that is written.
    path : Path
        The file that users know, for messages.
    """

    def __init__(self, blocks: Iterator[bytes], plain: Path, path: Path) -> None:
        self._blocks, self._plain, self._path = blocks, plain, path
        self._arrived = 0
        self._ended = self._stopped = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # whoever opens the file finds one
        plain.touch()
        self._thread.start()

    def begin(self, size: int) -> None:
        """Wait until so many bytes are there, or all of them, if they are fewer.

        Raises
        ------
        Dmri7tError
            If they cannot be read or written.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._arrived >= size)
            if self._arrived < size and self._error is not None:
                raise self._error

    def wait(self, size: int) -> None:
        """Wait until so many bytes are there.

        Raises
        ------
        InputError
            If the file ends before.
        Dmri7tError
            If they cannot be read or written.
        """
        self.begin(size)
        if self._arrived < size:
            raise InputError(f"{self._path}: the image is cut short; copy or convert it again")

    def finish(self) -> None:
        """Wait for the end.

        Raises
        ------
        Dmri7tError
            If it cannot be reached.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Write no more: nobody waits for the rest."""
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._write()
        except Exception as raised:
            error = raised
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _write(self) -> None:
        # unbuffered: what has arrived can be read
        with open(self._plain, "wb", buffering=0) as target:
            for block in self._blocks:
                if self._stopped:
                    return
                try:
                    written = 0
                    while written < len(block):
                        written += target.write(memoryview(block)[written:])
                except OSError as error:
                    raise Dmri7tError(
                        f"{self._plain}: cannot be written ({error.strerror}); {self._path.name} "
                        "needs room there in its uncompressed size"
                    ) from error
                with self._changed:
                    self._arrived += len(block)
                    self._changed.notify_all()
