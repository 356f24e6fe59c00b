"""Progress of what takes long: how much is done of how much, and how long it will take yet."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import attrs

Item = TypeVar("Item")

ERASE = "\r\x1b[K"
"""Goes back to the beginning of a terminal's line, and empties it."""

QUIET_SECONDS = 30.0
"""A log that has had no line for so long gets one of those that are for a terminal alone."""

_open_line = False
"""Whether a terminal's last line is one that will be written over."""


@attrs.define
class Progress:
    """Lines for who waits: one that is written over on a terminal, plain ones in a file.

    Parameters
    ----------
    name : str
        Of what is done.
    total : float
        How much there is to do.
    first : float
        How much of it was done before.

    Examples
    --------
    >>> progress = Progress("mean", 6000, begun=time.monotonic() - 25)
    >>> progress.line(50, "step 50/6000  loss -1.25")
    '[mean] step 50/6000  loss -1.25  50 min left'
    >>> progress.line(6000, "step 6000/6000")
    '[mean] step 6000/6000'
    """

    name: str
    total: float
    first: float = 0
    begun: float = attrs.field(factory=time.monotonic)
    said: float = attrs.field(factory=time.monotonic, init=False)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun

    def line(self, done: float, words: str) -> str:
        """What is printed once so much is done; without a time where nothing tells it yet."""
        left = ""
        if self.first < done < self.total:
            rest = (self.total - done) * self.seconds / (done - self.first)
            left = f"  {readable(rest)} left"
        return f"[{self.name}] {words}{left}"

    def show(self, done: float, words: str, *, passing: bool = False) -> None:
        """Print a line.

        Parameters
        ----------
        done : float
        words : str
        passing : bool
            For a terminal: a log would have too many of them, and has one now and then.
        """
        global _open_line
        line = self.line(done, words)
        if not sys.stdout.isatty():
            if not passing or time.monotonic() - self.said > QUIET_SECONDS:
                self.said = time.monotonic()
                print(line, flush=True)
            return
        _open_line = done < self.total
        room = shutil.get_terminal_size().columns - 1
        print(f"{ERASE}{line[:room]}", end="" if _open_line else "\n", flush=True)


@attrs.frozen
class Step:
    """What a node does.

    Parameters
    ----------
    words : str
        In plain words.
    weight : float
        Share of a participant's time that it takes about; only ratios count.
    where : str
        Scan and shell that it is done to, where a participant may have several.
    """

    words: str
    weight: float
    where: str = ""

    @property
    def sentence(self) -> str:
        """What it does to what."""
        return f"{self.where}: {self.words}" if self.where else self.words


def track(
    items: Iterable[Item], name: str, total: int, word: str = "subject", *, passing: bool = False
) -> Iterator[Item]:
    """Yield items, and show after each how many are done.

    Parameters
    ----------
    items : iterable
    name : str
        Of what is done with them.
    total : int
        How many there are.
    word : str
        For one of them.
    passing : bool
        Whether a log needs no line for each of them.

    Examples
    --------
    >>> list(track("a", "fit", 1))
    [fit] subject 1 of 1
    ['a']
    """
    progress = Progress(name, total)
    for number, item in enumerate(items, start=1):
        yield item
        # the first and the last stand in any log
        words = f"{word} {number} of {total}"
        progress.show(number, words, passing=passing and 1 < number < total)


def note(text: str) -> None:
    """Print a line that stays, whatever line of progress stands there."""
    global _open_line
    print(f"{ERASE if _open_line else ''}{text}", flush=True)
    _open_line = False


def readable(seconds: float) -> str:
    """Write a duration in its largest sensible unit.

    Examples
    --------
    >>> readable(42), readable(600), readable(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
