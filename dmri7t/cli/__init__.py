"""The commands dmri7t and dmri7t-model."""

import os
import sys


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


_leave_current_folder()
