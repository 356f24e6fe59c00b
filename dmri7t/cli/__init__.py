"""The commands dmri7t and dmri7t-model."""

import logging
import os
import resource
import signal
import sys
import warnings

LEAST_ADDRESSES = 1.2 * 2**30
"""Libraries alone take nearly so many bytes of addresses, in a process that runs nodes."""


def _leave_current_folder() -> None:
    """With ``python -m``, look for no modules in the current folder.

    A file like ``random.py`` there would hide Python's own, here and in all processes that are
    started. dmri7t itself may be found there, in a checkout that is not installed.
    """
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if sys.argv[:1] == ["-m"] and sys.path[:1] in ([""], [here]) and home != here:
        del sys.path[0]


def _check_addresses() -> None:
    """End where libraries could not even be loaded: they would say so in many lines of their own.

    Looked at before any of them is imported.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        name = os.path.basename(sys.argv[0])
        if sys.stderr is not None:
            sys.stderr.write(
                f"{'dmri7t' if name == '-m' else name}: memory is limited to "
                f"{limit / 2**30:.2g} GiB (ulimit -v), less than its libraries need; raise this "
                "limit (ulimit -v unlimited).\n"
            )
        sys.exit(2)


def _silence_libraries() -> None:
    """Keep what libraries warn their programmers of away from users, here and in all processes.

    Were it made an error by the environment, libraries could not even be loaded; nor matplotlib
    with a window system that is not there, where it draws into files alone.
    """
    os.environ.pop("PYTHONWARNINGS", None)
    os.environ["MPLBACKEND"] = "agg"
    warnings.simplefilter("ignore")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _wait_briefly() -> None:
    """Have threads that wait for others give up their processor soon, here and in all processes.

    GNU's OpenMP lets them turn in a loop for milliseconds. Where other programs need the
    processors, too, as on a shared node, those they wait for then hardly get one: beside two
    other processes on two processors, ``make.py demo`` took 77 s, and takes 33 s. So many turns
    bridge the gap between two operations. Read when torch is loaded.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _end_at_once() -> None:
    """Let Ctrl-C end a command that is still being loaded, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if sys.argv and os.path.basename(sys.argv[0]) in ("-m", "dmri7t", "dmri7t-model"):
    _end_at_once()
    _check_addresses()
    _silence_libraries()
    _wait_briefly()


_leave_current_folder()
