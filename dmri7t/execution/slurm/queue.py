"""What the head knows of its jobs: one question to the controller for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmri7t.execution.slurm.client import Job, Slurm, Unreachable


class Queue:
    """The user's jobs as the controller last told them.

    Parameters
    ----------
    slurm : Slurm
    poll_seconds : float
        Between questions to the controller.
    echo : callable
        Takes a line when the controller goes away, and when it is back.
    """

    def __init__(self, slurm: Slurm, poll_seconds: float, echo: Callable[[str], None]) -> None:
        self._slurm = slurm
        self._poll_seconds = poll_seconds
        self._echo = echo
        self._jobs: dict[str, Job] = {}
        self._asked = -float("inf")
        self.answered = -float("inf")
        """When the controller was asked what it last answered."""
        self.away_since = 0.0
        """Since when it does not answer; 0 while it does."""
        self.trouble = ""
        """In SLURM's own words."""

    def look(self, newer_than: float = -float("inf")) -> bool:
        """Ask again if it is time; say whether the answer is newer than a moment."""
        now = time.monotonic()
        if now - self._asked >= self._poll_seconds:
            try:
                self._jobs = self._slurm.jobs()
            except Unreachable as error:
                self.gone(str(error))
            else:
                self.answered = now
                self.back()
            self._asked = time.monotonic()
        return self.answered > newer_than

    def gone(self, words: str) -> None:
        """Note that the controller did not answer."""
        self.trouble = words
        if not self.away_since:
            self.away_since = time.monotonic()
            self._echo(f"SLURM does not answer ({words}); waiting for it")

    def back(self) -> None:
        """Note that it did."""
        if self.away_since:
            away = time.monotonic() - self.away_since
            self._echo(f"SLURM answers again, after {away:.0f} s")
        self.away_since = 0.0

    def away_for(self) -> float:
        """Seconds since which the controller does not answer."""
        return time.monotonic() - self.away_since if self.away_since else 0.0

    def get(self, number: str) -> Job | None:
        """A job by its number, unless the controller has forgotten it."""
        return self._jobs.get(number)

    def living(self, prefix: str) -> list[Job]:
        """Jobs that have not ended whose names begin so."""
        return [j for j in self._jobs.values() if j.name.startswith(prefix) and not j.ended]
