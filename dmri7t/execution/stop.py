"""Being told to stop, by Ctrl-C or by SIGTERM, so that it is never missed.

A signal raises its exception wherever the process happens to be. That may be inside a library that
catches whatever is raised there, and then the run would go on as if nothing had been said. So it is
kept, too, and plugins ask for it whenever they look after their nodes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dmri7t.errors import Terminated

_told: list[KeyboardInterrupt] = []
"""What was said, to a process as a whole: signals are."""


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on SIGINT and :class:`dmri7t.errors.Terminated` on SIGTERM.

    Only a process's main thread is told of signals; elsewhere nothing is changed.
    """

    def interrupt(number: int, frame: Any) -> None:
        _told.append(KeyboardInterrupt())
        raise _told[-1]

    def terminate(number: int, frame: Any) -> None:
        # once is enough: a second one must not interrupt the end
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _told.append(Terminated(f"signal {number}"))
        raise _told[-1]

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _told.clear()


def stop_if_told() -> None:
    """Raise again what a signal raised before, if it did not get through."""
    if _told:
        raise _told[-1]
