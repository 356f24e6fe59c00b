"""Faults in mid-run: signals to one process or to all, folders and files that vanish."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

import psutil

from trials.case import Live
from trials.place import Edit

What = Callable[[Live], None]


def to_driver(*numbers: signal.Signals, pause: float = 0.2) -> What:
    """Send signals to the driver alone, one after another."""

    def what(live: Live) -> None:
        for index, number in enumerate(numbers):
            if index:
                time.sleep(pause)
            _send(live.pid, number)

    return what


def to_group(number: signal.Signals) -> What:
    """Send a signal to the driver and all that it started, as a terminal or a scheduler does."""

    def what(live: Live) -> None:
        try:
            os.killpg(live.pid, number)
        except ProcessLookupError:
            pass

    return what


def to_workers(number: signal.Signals, times: int = 1, pause: float = 0.3) -> What:
    """Send a signal to all workers of the moment, and again to those that follow."""

    def what(live: Live) -> None:
        for index in range(times):
            if index:
                time.sleep(pause)
            for worker in workers(live.pid):
                _send(worker, number)

    return what


def to_server(number: signal.Signals) -> What:
    """Send a signal to the process that workers are forked from."""

    def what(live: Live) -> None:
        for server in servers(live.pid):
            _send(server, number)

    return what


def pause_all(seconds: float) -> What:
    """Stop all processes for a while, as a suspended machine does."""

    def what(live: Live) -> None:
        os.killpg(live.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(live.pid, signal.SIGCONT)

    return what


def remove(*names: str) -> What:
    """Delete files or folders of the place."""

    def what(live: Live) -> None:
        for name in names:
            path = live.place.root / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    return what


def change(edit: Edit) -> What:
    """Change something in the place."""
    return lambda live: edit(live.place)


def servers(driver: int) -> list[int]:
    """Fork servers of a driver."""
    try:
        children = psutil.Process(driver).children()
        return [c.pid for c in children if "forkserver" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def workers(driver: int) -> list[int]:
    """Processes in which nodes run."""
    try:
        return [w.pid for s in servers(driver) for w in psutil.Process(s).children()]
    except psutil.Error:
        return []


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
