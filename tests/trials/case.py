"""What a case is: an input, commands, faults, and what each command must end in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs

from trials.place import Edit, Place, with_base

LINE = (
    "exec $DMRI7T in out participant -w work --model $MODEL --nprocs 1 --device cpu"
    " --skip-bids-validation -v"
)
"""The command unless a step says otherwise, in the words of a shell."""

SECONDS = 600.0
"""Longest time that a command may take."""


@attrs.frozen
class Live:
    """A command that is running: what a strike may hit.

    Parameters
    ----------
    pid : int
        Of the driver, which leads a process group of its own.
    place : Place
    """

    pid: int
    place: Place


@attrs.frozen
class Strike:
    """A fault in mid-run.

    Parameters
    ----------
    when : str or float
        A pattern that a line of the output must match, or seconds since the start.
    what : callable
        Does it.
    delay : float
        Seconds from the moment to the deed.
    """

    when: str | float
    what: Callable[[Live], None]
    delay: float = 0.0


@attrs.frozen
class Run:
    """A command that has ended.

    Parameters
    ----------
    place : Place
    model : Path
    code : int or None
        Exit code, negative for a signal; None where it had to be ended after its time.
    stdout, stderr : str
    struck : bool
        Whether its strike was carried out.
    left : list of str
        Processes that were still there some seconds later.
    seconds : float
    """

    place: Place
    model: Path
    code: int | None
    stdout: str
    stderr: str
    struck: bool
    left: list[str]
    seconds: float


class Ending(Protocol):
    """What a command may end in."""

    @property
    def kind(self) -> str:
        """``right``, ``clear error`` or ``interrupted``."""

    def fault(self, run: Run) -> str:
        """Say what of a run is not as it must be; empty if all is."""


@attrs.frozen
class Step:
    """One command of a case.

    Parameters
    ----------
    ends : tuple of Ending
        Any of them will do.
    words : str
        Options after those of :data:`LINE`.
    line : str
        The whole command instead.
    before : callable, optional
        Done before it.
    strike : Strike, optional
    touches_input : bool
        Whether the step may change the data set that came in.
    seconds : float
        Longest time that it may take.
    """

    ends: tuple[Ending, ...]
    words: str = ""
    line: str = LINE
    before: Edit | None = None
    strike: Strike | None = None
    touches_input: bool = False
    seconds: float = SECONDS


@attrs.frozen
class Case:
    """One trial.

    Parameters
    ----------
    name : str
        Its table and its own name, such as ``kills/driver-TERM-at-prepare``.
    steps : tuple of Step
    build : callable
        Makes the input.
    model : str
        ``tiny``, a model with random weights, or ``default``.
    needs : tuple of str
        What the machine must have: ``nobody``, ``tmpfs``, see :data:`trials.runner.NEEDS`.
    weight : float
        Seconds that it takes about, on two quiet processors.
    """

    name: str
    steps: tuple[Step, ...]
    build: Edit = with_base
    model: str = "tiny"
    needs: tuple[str, ...] = ()
    weight: float = 8.0


Check = Callable[[Run], str]
"""An oracle: says what of a run's results is not right; empty if all is."""


def says(pattern: str) -> Check:
    """Standard output and error have this somewhere."""

    def check(run: Run) -> str:
        both = run.stdout + run.stderr
        return "" if re.search(pattern, both) else f"does not say {pattern!r}"

    return check


def says_not(pattern: str) -> Check:
    """Neither standard output nor error has this."""

    def check(run: Run) -> str:
        found = re.search(pattern, run.stdout + run.stderr)
        return f"says {found[0]!r}" if found else ""

    return check
