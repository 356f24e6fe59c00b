"""Seconds, processor seconds and memory of whole processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import psutil

LOOKS = 0.1
"""Seconds from one look at a process and its children to the next."""


@attrs.frozen
class Measured:
    """What a command took.

    Parameters
    ----------
    seconds : float
        From its start to its end.
    cpu_seconds : float
        Of processors, user and system, of all processes of it together; 0: not measured.
    peak_gb : float
        Largest sum of proportional set sizes, GiB; files that are mapped count as far as they
        are in memory; 0: not measured.
    """

    seconds: float
    cpu_seconds: float = 0.0
    peak_gb: float = 0.0

    @property
    def utilisation(self) -> float:
        """Processor seconds over seconds times the processors that may be used."""
        return self.cpu_seconds / (self.seconds * n_processors())

    def __add__(self, other: Measured) -> Measured:
        """One after the other."""
        return Measured(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_gb, other.peak_gb),
        )


def n_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def measure(command: Sequence[object], folder: Path) -> Measured:
    """Run a command in a folder; what it prints is kept in ``log.txt`` there.

    Raises
    ------
    SystemExit
        If it fails, with the last of what it printed.
    """
    start = time.perf_counter()
    with open(folder / "log.txt", "w") as log:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
        cpu_seconds, peak_gb = _watch(process)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n" + (folder / "log.txt").read_text()[-3000:])
    return Measured(seconds, cpu_seconds, peak_gb)


def _watch(process: subprocess.Popen) -> tuple[float, float]:
    """Look at a process and its children until it ends: processor seconds, peak memory in GiB.

    The last look at a process misses what it does after that, 0.1 s at most.
    """
    peak, me = 0, psutil.Process(process.pid)
    worked: dict[psutil.Process, float] = {}
    while process.poll() is None:
        total = 0
        for p in _family(me):
            try:
                times = p.cpu_times()
                worked[p] = times.user + times.system
                total += p.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(LOOKS)
    return sum(worked.values()), peak / 2**30


def _family(me: psutil.Process) -> list[psutil.Process]:
    try:
        return [me, *me.children(recursive=True)]
    except psutil.Error:
        return []
