"""The user's jobs, listed by one question to the controller for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmri7t.execution.slurm.client import Job, Slurm, Unreachable


class Queue:
    """The user's jobs as the controller last listed them.

    Parameters
    ----------
    slurm : Slurm
    poll_seconds : float
        Between questions to the controller.
    echo : callable
        Takes a line when the controller stops answering, and when it answers again.
    """

    def __init__(self, slurm: Slurm, poll_seconds: float, echo: Callable[[str], None]) -> None:
        self._slurm = slurm
        self._poll_seconds = poll_seconds
        self._echo = echo
        self._jobs: dict[str, Job] = {}
        self._asked_at = -float("inf")
        self._answered_at = -float("inf")
        self._outage_since: float | None = None
        self.trouble = ""
        """Why the controller did not answer, in SLURM's own words."""

    def refresh(self, newer_than: float = -float("inf")) -> bool:
        """List the jobs again if it is time; say whether the list is newer than a moment."""
        now = time.monotonic()
        if now - self._asked_at >= self._poll_seconds:
            try:
                self._jobs = self._slurm.jobs()
            except Unreachable as error:
                self.note_outage(str(error))
            else:
                self._answered_at = now
                self.note_answer()
            self._asked_at = time.monotonic()
        return self._answered_at > newer_than

    def note_outage(self, trouble: str) -> None:
        """Note that the controller did not answer."""
        self.trouble = trouble
        if self._outage_since is None:
            self._outage_since = time.monotonic()
            self._echo(f"SLURM does not answer ({trouble}); waiting for it")

    def note_answer(self) -> None:
        """Note that the controller answered."""
        if self._outage_since is not None:
            self._echo(f"SLURM answers again, after {self.outage_seconds:.0f} s")
        self._outage_since = None

    @property
    def outage_seconds(self) -> float:
        """Since how many seconds the controller has not answered."""
        return 0.0 if self._outage_since is None else time.monotonic() - self._outage_since

    def get(self, number: str) -> Job | None:
        """A job by its number, unless the controller has forgotten it."""
        return self._jobs.get(number)

    def unfinished(self, prefix: str) -> list[Job]:
        """Jobs that have not ended and whose names begin with a prefix."""
        return [j for j in self._jobs.values() if j.name.startswith(prefix) and not j.ended]
