"""Stopping on Ctrl-C or SIGTERM, so that neither is ever missed.

A signal raises its exception wherever the process happens to be. That may be inside a library that
catches whatever is raised there, and then the run would go on as if nothing had happened. So the
signal is kept, too, and plugins check for it whenever they look after their nodes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dmri7t.errors import Terminated

_received: list[KeyboardInterrupt] = []
"""Signals to this process; signals are sent to a process as a whole."""


@contextmanager
def stop_on_signals(*, last: bool = False) -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on SIGINT and :class:`dmri7t.errors.Terminated` on SIGTERM.

    Only a process's main thread receives signals; elsewhere nothing is changed.

    Parameters
    ----------
    last : bool
        Whether nothing but the process's end comes afterwards: signals are ignored from then on,
        so that its exit code is that of what was done.
    """

    def interrupt(number: int, frame: Any) -> None:
        _received.append(KeyboardInterrupt())
        raise _received[-1]

    def terminate(number: int, frame: Any) -> None:
        # once is enough: a second one must not interrupt the end
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _received.append(Terminated(f"signal {number}"))
        raise _received[-1]

    changed = False
    handlers: dict[signal.Signals, Any] = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    try:
        with _handlers(handlers, signal.SIG_IGN if last else None) as changed:
            yield
    finally:
        if changed:
            _received.clear()


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Let neither SIGINT nor SIGTERM interrupt what must be done."""
    with _handlers({signal.SIGTERM: signal.SIG_IGN, signal.SIGINT: signal.SIG_IGN}):
        yield


def stop_if_signalled() -> None:
    """Raise again what a signal raised before, if something caught it."""
    if _received:
        raise _received[-1]


@contextmanager
def _handlers(handlers: dict[signal.Signals, Any], after: Any = None) -> Iterator[bool]:
    """Set handlers of signals for a while, in the main thread; say whether that was done.

    Afterwards they are what they were before, unless something else is asked for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if after is None else after)
