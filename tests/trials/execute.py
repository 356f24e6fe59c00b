"""Running the commands of a case as a user would: in a shell, with a time limit, struck or not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from trials.case import Live, Run, Step, Strike
from trials.place import MARK, Place

GONE_SECONDS = 30.0
"""In this time all processes of a command that has ended must have gone, too."""

LOOKS = 3
"""So many looks in a row must see no process before a command counts as gone."""


def as_from_a_terminal() -> None:
    """Let commands begin with the signals that a terminal has them begin with.

    Under ``nohup``, or in the background, some are ignored, which commands would take over. A
    handler that does nothing ignores them here as well, but is not handed down.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def execute(step: Step, place: Place, model: Path) -> Run:
    """Run one command to its end."""
    begun = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", f"{step.line} {step.words}".rstrip()],
        cwd=place.root,
        env=place.environment(model),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout and process.stderr
    striker = Striker(step.strike, Live(process.pid, place))
    out = Reader(process.stdout, striker.see)
    err = Reader(process.stderr)
    code: int | None
    try:
        code = process.wait(step.seconds)
    except subprocess.TimeoutExpired:
        code = None
    striker.end()
    left = wait_for_all(place, process.pid, 0 if code is None else GONE_SECONDS)
    end_all(place, process.pid)
    process.wait()
    seconds = time.monotonic() - begun
    return Run(place, model, code, out.text(), err.text(), striker.struck, left, seconds)


class Reader:
    """Reads a stream to its end, and shows each line to somebody."""

    def __init__(self, stream: IO[bytes], see: object = None) -> None:
        self._lines: list[str] = []
        self._see, self._stream = see, stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.append(line.decode(errors="replace"))
            if callable(self._see):
                self._see(self._lines[-1])

    def text(self) -> str:
        """All that was read."""
        self._thread.join(10)
        return "".join(self._lines)


class Striker:
    """Carries out a strike once, at its moment."""

    def __init__(self, strike: Strike | None, live: Live) -> None:
        self._strike, self._live, self.struck = strike, live, False
        self._timer: threading.Timer | None = None
        if strike is not None and isinstance(strike.when, float):
            self._start(strike.when)

    def see(self, line: str) -> None:
        """Look whether the moment has come."""
        strike = self._strike
        if strike is None or not isinstance(strike.when, str) or self._timer is not None:
            return
        if re.search(strike.when, line):
            if strike.delay:
                self._start(strike.delay)
            else:
                self._timer = threading.Timer(0, lambda: None)
                self._hit()

    def _start(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._hit)
        self._timer.daemon = True
        self._timer.start()

    def _hit(self) -> None:
        assert self._strike is not None
        try:
            os.kill(self._live.pid, 0)
        except ProcessLookupError:
            return
        self.struck = True
        self._strike.what(self._live)

    def end(self) -> None:
        """Strike no more."""
        if self._timer is not None:
            self._timer.cancel()
            if self._timer.is_alive():
                self._timer.join(10)


def processes_of(place: Place, session: int) -> dict[int, str]:
    """Command lines of the living processes that were started in a place, by number.

    Told by their session, and those that have left it by their variables. One that just begins
    another program shows no variables for a moment, and a look may miss it.
    """
    found = {}
    mark = f"{MARK}={place.root.name}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, owner = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if state == "Z":
                continue
            if int(owner) == session or mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = words.decode(errors="replace").strip()
        except OSError:
            continue
    return found


def wait_for_all(place: Place, session: int, seconds: float) -> list[str]:
    """Wait until no process of a place is left; name those that stay."""
    deadline = time.monotonic() + seconds
    left, unseen = {}, 0
    while unseen < LOOKS:
        left = processes_of(place, session)
        if left and time.monotonic() >= deadline:
            break
        unseen = 0 if left else unseen + 1
        time.sleep(0.05)
    return [f"{pid} {words[:80]}" for pid, words in left.items()]


def end_all(place: Place, session: int) -> None:
    """End whatever a place still runs."""
    unseen = 0
    while unseen < LOOKS:
        left = processes_of(place, session)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        unseen = 0 if left else unseen + 1
        time.sleep(0.05)
