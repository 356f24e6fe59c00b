"""How far a run is: participants, the steps that they are at, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import attrs

from dmri7t.progress import Step, readable

SHORT_SECONDS = 1.0
"""Steps that take less are not told of."""

TRUSTED = 0.2
"""From this fraction on a run's own pace foretells its end."""


Describe = Callable[[str], Step]
"""What the node of a name does, such as ``dwi_wf.b1000_wf.encode``."""


@attrs.define
class Running:
    """A step that is being done.

    Parameters
    ----------
    step : Step
    number, total : int
        It is such a one of its participant's.
    begun : float
        On the monotonic clock.
    """

    step: Step
    number: int
    total: int
    begun: float


@attrs.define
class Own:
    """What is known of one participant: its steps by name, and those that are over."""

    steps: dict[str, Step] = attrs.field(factory=dict)
    over: set[str] = attrs.field(factory=set)
    cached: set[str] = attrs.field(factory=set)
    running: dict[str, Running] = attrs.field(factory=dict)
    begun: float | None = None
    failed: bool = False
    ended: bool = False

    @property
    def done(self) -> bool:
        """Whether all steps are over, and none has failed."""
        return not self.failed and bool(self.steps) and self.over >= self.steps.keys()

    def weight(self, names: Iterable[str]) -> float:
        """Of steps together."""
        return sum(self.steps[name].weight for name in names if name in self.steps)

    @property
    def fraction(self) -> float:
        """How much of it is done."""
        return self.weight(self.over) / max(self.weight(self.steps), 1e-9)


@attrs.define
class Tally:
    """Counts what a run has done.

    Parameters
    ----------
    describe : callable
        What a node does, by its name.
    foretold : float, optional
        Seconds that the whole run will take about.

    Examples
    --------
    >>> tally = Tally(lambda name: Step(f"does {name}", 1.0))
    >>> tally.expect({"01": ["fit", "write"], "02": ["fit", "write"]})
    >>> tally.start("01", "fit")
    >>> tally.people()
    '0 of 2 participants done, 1 running'
    >>> tally.end("01", "fit")
    >>> tally.fraction
    0.25
    """

    describe: Describe
    foretold: float | None = None
    own: dict[str, Own] = attrs.field(factory=dict)
    begun: float = attrs.field(factory=lambda: time.monotonic())

    def expect(self, names: dict[str, list[str]]) -> None:
        """Take note of which steps there will be, by participant."""
        for label, steps in names.items():
            self.own[label] = Own({name: self.describe(name) for name in steps})

    def start(self, label: str, name: str) -> None:
        """A step begins."""
        own = self.own.setdefault(label, Own())
        step = own.steps.setdefault(name, self.describe(name))
        now = time.monotonic()
        own.begun = own.begun or now
        number = len(own.over) + len(own.running) + 1
        own.running[name] = Running(step, number, len(own.steps), now)

    def end(self, label: str, name: str, *, cached: bool = False) -> None:
        """A step has its result."""
        own = self.own.setdefault(label, Own())
        own.running.pop(name, None)
        own.over.add(name)
        if cached:
            own.cached.add(name)

    def fail(self, label: str, name: str = "") -> None:
        """A step has failed, and its participant with it."""
        own = self.own.setdefault(label, Own())
        own.running.pop(name, None)
        own.failed = True

    @property
    def fraction(self) -> float:
        """How much of the run is done, of what was not done before it."""
        done = sum(own.weight(own.over - own.cached) for own in self.own.values())
        total = sum(own.weight(own.steps.keys() - own.cached) for own in self.own.values())
        return done / total if total else 1.0

    def left(self) -> float | None:
        """Seconds that the run will take yet; None where nothing tells."""
        seconds, fraction = time.monotonic() - self.begun, self.fraction
        if fraction >= TRUSTED:
            return seconds * (1 - fraction) / fraction
        return max(self.foretold - seconds, 0.0) if self.foretold else None

    def time_left(self) -> str:
        """The same in words; empty where nothing tells."""
        left = self.left()
        return f"about {readable(left)} left" if left else ""

    def people(self) -> str:
        """How many participants are done, running and failed."""
        everybody = [own for label, own in self.own.items() if label]
        done = sum(own.done for own in everybody)
        failed = sum(own.failed for own in everybody)
        running = sum(bool(own.running) and not own.failed for own in everybody)
        words = [f"{done} of {len(everybody)} participants done"]
        words += [f"{running} running"] if running else []
        return ", ".join([*words, *([f"{failed} failed"] if failed else [])])
