"""What is shown of a run while it goes on: a display on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from dmri7t.execution.tally import SHORT_SECONDS, Tally
from dmri7t.progress import readable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    """Shows how far a run is."""

    tally: Tally

    def show(self) -> None:
        """Something happened, or some time has passed."""

    def close(self) -> None:
        """The run is over, however it ended."""


def is_terminal() -> bool:
    """Whether standard output is a terminal on which lines can be written over."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


@attrs.define
class PlainLines:
    """A line for every step that takes a second, and for every participant that is done.

    Parameters
    ----------
    tally : Tally
    echo : callable
        Prints a line.
    """

    tally: Tally
    echo: Callable[[str], None]
    _said: set[tuple[str, str, float]] = attrs.field(factory=set, init=False)

    def show(self) -> None:
        """Print what is new."""
        now = time.monotonic()
        for label, own in self.tally.own.items():
            for name, running in own.running.items():
                mark = (label, name, running.begun)
                if now - running.begun < SHORT_SECONDS or mark in self._said:
                    continue
                self._said.add(mark)
                left = self.tally.time_left()
                more = f", {left}" if left else ""
                step = f"step {running.number} of {running.total}"
                self._line(label, f"{running.step.words} ({step}{more})", running.step.where)
            if own.done and not own.ended:
                own.ended = True
                took = f" in {readable(now - own.begun)}" if own.begun else ", nothing to do"
                self._line(label, f"done{took}; {self.tally.people()}")

    def close(self) -> None:
        """Nothing stands open."""

    def _line(self, label: str, words: str, where: str = "") -> None:
        name = ", ".join(part for part in (f"sub-{label}" if label else "run", where) if part)
        self.echo(f"{time.strftime('[%H:%M:%S]')} {name}: {words}")


@attrs.define
class LiveBars:
    """A bar for the run and one for every participant that runs, written over in place.

    Lines that are printed meanwhile stand above it.

    Parameters
    ----------
    tally : Tally
    """

    tally: Tally
    _bars: Progress | None = attrs.field(default=None, init=False)
    _tasks: dict[str, TaskID] = attrs.field(factory=dict, init=False)

    def show(self) -> None:
        """Bring the bars up to date."""
        bars = self._bars or self._open()
        people, left = self.tally.people(), self.tally.time_left()
        words = f"{people}, {left}" if left else people
        bars.update(self._tasks[""], completed=self.tally.fraction, words=words)
        now = time.monotonic()
        for label, own in self.tally.own.items():
            if not own.running or own.failed:
                if label and label in self._tasks:
                    bars.remove_task(self._tasks.pop(label))
                continue
            if not label:
                continue
            if label not in self._tasks:
                self._tasks[label] = bars.add_task(f"sub-{label}", total=1.0, words="")
            # of those side by side the one that began first: it is what the others wait for
            at = min(own.running.values(), key=lambda running: running.begun)
            words = f"{at.step.sentence} ({readable(now - at.begun)})"
            bars.update(self._tasks[label], completed=own.fraction, words=words)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars:
            self._bars.stop()
            self._bars = None

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.table import Column

        words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[words]}", markup=False, table_column=words),
            console=Console(file=sys.stdout),
            transient=True,
            expand=True,
            refresh_per_second=4,
            # what goes to a file is not to be shown on the terminal
            redirect_stderr=sys.stderr.isatty(),
        )
        self._tasks = {"": self._bars.add_task("all", total=1.0, words="")}
        self._bars.start()
        return self._bars
