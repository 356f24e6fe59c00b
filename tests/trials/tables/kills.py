"""Killed at every moment: the same command then ends with the bytes of an undisturbed run."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from trials import strikes
from trials.case import Case, Ending, Step, Strike, says
from trials.judge import Ends, right, stopped
from trials.oracles import identical
from trials.place import Edit, with_base, with_one
from trials.strikes import What

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
HUP, QUIT = signal.SIGHUP, signal.SIGQUIT

MOMENTS: dict[str, str | float] = {
    "start": 0.15,
    "imports": 0.6,
    "input": "^Input: ",
    "candidates": "^Candidate scans",
    "need": "^The run needs",
    "prepare": "prepare started",
    "represent": "represent started",
    "encode": "encode started",
    "diffuse": "diffuse done",
    "super-resolve": "super_resolve started",
    "harmonize": "harmonize started",
    "tensor": "tensor_generated started",
    "quality": "quality done",
    "maps": "ds_tensor started",
    "dwi": "ds_dwi started",
    "gather": "gather_dwi started",
    "report": "report started",
    "first-done": "sub-01 report done",
    "summary": "^Summary",
}
"""Moments of a run: a line that is printed, or seconds."""

GO_ON = Step(right(identical()))

OF_SEVERAL = ("first-done", "report", "need")
"""Moments at which it matters that there is another participant."""


def interrupted(
    name: str, moment: str, what: What, ends: tuple[Ending, ...], delay: float = 0.0
) -> Case:
    """A run that a fault ends, and the same command once more."""
    first = Step(ends, strike=Strike(MOMENTS[moment], what, delay))
    whole, build = whom(moment)
    return Case(f"kills/{name}-at-{moment}", (first, Step(whole)), build, weight=14.0)


def survived(name: str, moment: str, what: What, delay: float = 0.0) -> Case:
    """A fault that a run must get over by itself."""
    whole, build = whom(moment)
    step = Step(whole, strike=Strike(MOMENTS[moment], what, delay))
    return Case(f"kills/{name}-at-{moment}", (step,), build, weight=8.0)


def whom(moment: str) -> tuple[tuple[Ending, ...], Edit]:
    """Two participants, or one alone: what must come out, and what goes in."""
    if moment in OF_SEVERAL:
        return right(identical()), with_base
    return right(identical(build=with_one), labels=("01",)), with_one


def _cases() -> Iterator[Case]:
    early = ("start", "imports")
    for moment in ("start", "imports", "candidates", "need", "prepare", "encode", "tensor", "dwi"):
        ends = stopped(143, moment in early)
        yield interrupted("driver-TERM", moment, strikes.to_driver(TERM), ends)
    for moment in ("imports", "input", "represent", "super-resolve", "quality", "report"):
        # Ctrl-C goes to the whole group
        yield interrupted("group-INT", moment, strikes.to_group(INT), stopped(130, moment in early))
    for moment in ("input", "prepare", "diffuse", "harmonize", "maps", "dwi", "gather", "report"):
        yield interrupted("driver-KILL", moment, strikes.to_driver(KILL), stopped(-9))
    for moment in ("need", "encode", "harmonize", "maps", "first-done"):
        yield interrupted("group-KILL", moment, strikes.to_group(KILL), stopped(-9))
    for moment in ("represent", "tensor", "report"):
        # a scheduler's way: all get it
        yield interrupted("group-TERM", moment, strikes.to_group(TERM), stopped(143))
    for moment in ("prepare", "dwi"):
        yield interrupted("driver-INT-twice", moment, strikes.to_driver(INT, INT), stopped(130))
        yield interrupted("driver-INT-TERM", moment, strikes.to_driver(INT, TERM), stopped(130))
        yield interrupted("driver-TERM-KILL", moment, strikes.to_driver(TERM, KILL), EITHER)
    for moment in ("encode", "report"):
        yield interrupted("group-HUP", moment, strikes.to_group(HUP), ENDED_BY_HUP)
    yield interrupted("group-QUIT", "harmonize", strikes.to_group(QUIT), stopped(-3))
    for moment in ("prepare", "encode", "super-resolve", "tensor", "maps", "dwi", "report"):
        yield survived("worker-KILL", moment, strikes.to_workers(KILL))
    for moment in ("represent", "report"):
        yield survived("worker-TERM", moment, strikes.to_workers(TERM))
    yield survived("worker-INT", "report", strikes.to_workers(INT))
    for moment in ("need", "encode", "report"):
        yield survived("server-KILL", moment, strikes.to_server(KILL))
    yield survived("all-paused", "encode", strikes.pause_all(3.0))


EITHER = (*stopped(143), *stopped(-9))

ENDED_BY_HUP = (*stopped(-1), *stopped(129), *stopped(143))
"""A terminal that is closed: whatever the code, the next run goes on."""


def _twice() -> Case:
    """Killed, killed again while it goes on, and then left alone."""
    killed = stopped(-9)
    steps = tuple(
        Step(killed, strike=Strike(MOMENTS[moment], strikes.to_group(KILL)))
        for moment in ("encode", "harmonize", "maps")
    )
    whole, build = whom("encode")
    return Case("kills/again-and-again", (*steps, Step(whole)), build, weight=24.0)


def _by_memory() -> Iterator[Case]:
    """A worker that is killed each time, as where memory is short: one fails, the others go on."""
    kill_on = strikes.to_workers(KILL, times=40, pause=0.02)
    step = Step(
        (*right(), *_ended_by_memory()), strike=Strike("sub-02 report started", kill_on, 0.05)
    )
    yield Case("kills/worker-KILL-again-and-again", (step, GO_ON), weight=20.0)


def _ended_by_memory() -> tuple[Ending, ...]:
    return (Ends((1,), (says("FAILED: .*was killed by signal 9"), says("sub-01 done"))),)


def _side_by_side() -> Iterator[Case]:
    """Two nodes at a time, so that more than one is hit."""
    both = "--nprocs 2"
    for name, moment, what, ends in (
        ("driver-KILL", "represent", strikes.to_driver(KILL), stopped(-9)),
        ("driver-TERM", "maps", strikes.to_driver(TERM), stopped(143)),
        ("group-KILL", "first-done", strikes.to_group(KILL), stopped(-9)),
    ):
        first = Step(ends, both, strike=Strike(MOMENTS[moment], what))
        again = Step(right(identical()), both)
        yield Case(f"kills/two-at-a-time-{name}-at-{moment}", (first, again), weight=18.0)
    step = Step(right(identical()), both, strike=Strike(MOMENTS["dwi"], strikes.to_workers(KILL)))
    yield Case("kills/two-at-a-time-worker-KILL-at-dwi", (step,), weight=12.0)


CASES: tuple[Case, ...] = (*_cases(), _twice(), *_by_memory(), *_side_by_side())
