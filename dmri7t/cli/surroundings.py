"""What a command finds around it: open streams, a current folder, paths that can be told."""

from __future__ import annotations

import errno
import io
import locale
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from dmri7t.errors import InputError

STREAMS = ("stdin", "stdout", "stderr")


def prepare_process() -> None:
    """Make sound what a command and its processes count on; called before all else.

    Streams that were closed lead nowhere, so that no file gets their numbers. What cannot be
    encoded is written with backslashes. Processes look for no modules in the current folder, where
    a file like ``random.py`` would hide Python's own. A current folder that was deleted is left.
    """
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number is given: this one
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        os.getcwd()
    except OSError:
        os.environ[GONE] = "1"
        os.chdir("/")


GONE = "DMRI7T_FOLDER_GONE"
"""Set for this process and those that it starts where the current folder was deleted."""


RESTARTED = "DMRI7T_RESTARTED"
"""Set for a command that was started anew, so that it is not once more."""


def restart_if_needed() -> None:
    """Start the command anew, as the same process, where Python runs as libraries cannot bear.

    Some of them read their own docstrings, which ``PYTHONOPTIMIZE=2`` leaves out; and files are
    UTF-8, whatever the locale says.
    """
    no_docstrings = sys.flags.optimize > 1
    other_encoding = sys.getfilesystemencoding() != "utf-8" or (
        locale.getpreferredencoding(False).lower().replace("-", "") != "utf8"
    )
    if os.environ.get(RESTARTED) or not (no_docstrings or other_encoding):
        os.environ.pop(RESTARTED, None)
        return
    words = [word for word in sys.orig_argv[1:] if not re.fullmatch("-O+", word)]
    os.environ.pop("PYTHONOPTIMIZE", None)
    os.environ.update({"PYTHONUTF8": "1", RESTARTED: "1"})
    os.execv(sys.executable, [sys.executable, *words])


def check_paths(paths: Iterable[Path | None]) -> None:
    """See that paths of the command line can be found and written down.

    Raises
    ------
    InputError
    """
    for path in paths:
        if path is None:
            continue
        try:
            str(path).encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path).decode(errors="backslashreplace")
            raise InputError(
                f"{shown}: this name is no UTF-8, and results could not tell of it; rename the "
                "file or folder, or give a link to it."
            ) from None
        try:
            os.stat(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InputError(
                    f"{path}: links that lead in a circle; mend them, or give another path."
                ) from None
            if error.errno == errno.ENAMETOOLONG:
                shown = f"{str(path)[:60]} ... {str(path)[-40:]}"
                raise InputError(
                    f"{shown}: longer than a path, or a name in it, may be here; give another."
                ) from None
        if os.environ.get(GONE) and not path.is_absolute():
            raise InputError(
                f"{path}: the current folder was deleted, so this cannot be found; change to "
                "another folder, or give whole paths (-w too)."
            )


def check_folder(path: Path | None) -> None:
    """See that a folder is there or can be made, before what it is for is worked out.

    Raises
    ------
    InputError
        If a file has its name, or that of a folder which it lies in.
    """
    for present in (path, *path.parents) if path else ():
        if present.is_dir():
            return
        if present.exists():
            raise InputError(f"{present}: is a file where a folder is needed; give another folder.")
