"""SLURM's commands: submit, list, cancel; their errors by kind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

ENDED = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED "
    "TIMEOUT".split()
)
"""States of a job that will not run any more, unless SLURM queues it again."""

TEMPORARY = re.compile(
    r"socket timed out|unable to contact|connection (refused|reset|timed out|failure)|"
    r"connect failure|communication connection|temporarily unable|temporarily unavailable|"
    r"not available at the moment|zero bytes were transmitted|not connected|"
    r"in standby mode|authentication|munge|timed out|max\w*submit\w*limit|"
    r"slurmctld.*(not|un)respon|unexpected message received",
    re.IGNORECASE,
)
"""Messages of sbatch after which the same command may succeed later: the controller is away, or a
limit on jobs that are queued at the same time is reached."""

NOWHERE = "establish a configuration source|process configuration file"
"""What SLURM's commands say where they are installed, but belong to no cluster."""

KEPT = ("SLURM_CONF", "SLURM_JWT")
"""Of the variables SLURM_*: those that lead to the cluster, not those of an allocation."""


class Unreachable(Exception):
    """The controller does not answer, or takes no more jobs for now."""


class Rejected(Exception):
    """The controller will never take this job."""


@attrs.frozen
class Job:
    """A job as squeue lists it."""

    id: str
    name: str
    state: str
    reason: str

    @property
    def ended(self) -> bool:
        """Whether it does not run and will not."""
        return self.state in ENDED


@attrs.frozen
class Ending:
    """How a job ended, as far as SLURM remembers.

    Parameters
    ----------
    state : str
        One of :data:`ENDED`; empty where SLURM has forgotten it.
    code, signal : int
        Exit code of the job's script, and the signal that ended it.
    log : str
        File with what the job printed; empty where SLURM does not say.
    """

    state: str = ""
    code: int = 0
    signal: int = 0
    log: str = ""


class Slurm:
    """The cluster of which this machine is a part.

    Parameters
    ----------
    seconds : float
        Longest time that one of SLURM's commands is waited for.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds

    def submit(self, options: Sequence[str], script: Path) -> str:
        """Submit a script.

        Returns
        -------
        str
            Number of the job.

        Raises
        ------
        Unreachable
            If it may succeed later. The job may have been taken nevertheless.
        Rejected
            With sbatch's own message.
        """
        done = self._call(["sbatch", "--parsable", *options, str(script)])
        lines = done.stdout.split()
        number = lines[-1].split(";")[0] if lines else ""
        if done.returncode == 0 and number.isdigit():
            return number
        message = _message(done)
        raise (Unreachable if TEMPORARY.search(message) else Rejected)(message)

    def jobs(self) -> dict[str, Job]:
        """All jobs of this user that the controller remembers, by number.

        Raises
        ------
        Unreachable
            For any failure: that squeue fails does not mean that a job has ended.
        """
        command = ["squeue", f"--user={os.getuid()}", "--states=all", "--noheader"]
        done = self._call([*command, "--format=%i|%T|%r|%j"])
        if done.returncode:
            raise Unreachable(_message(done))
        jobs = {}
        for line in done.stdout.splitlines():
            number, state, reason, name = (part.strip() for part in line.split("|", 3))
            jobs[number] = Job(number, name, state, reason)
        return jobs

    def cancel(self, numbers: Iterable[str]) -> None:
        """Cancel jobs; those that have ended are no error.

        Raises
        ------
        Unreachable
        """
        numbers = sorted(numbers)
        if not numbers:
            return
        done = self._call(["scancel", *numbers])
        if done.returncode and "Invalid job id" not in done.stderr:
            raise Unreachable(_message(done))

    def ending(self, number: str) -> Ending:
        """How a job ended: from the controller, its accounting or its list of ended jobs.

        Whatever fails here leaves the ending unknown.
        """
        for source in (self._from_controller, self._from_accounting, self._from_completions):
            try:
                ending = source(number)
            except (Unreachable, OSError, ValueError):
                continue
            if ending.state in ENDED:
                return ending
        return Ending()

    def _from_controller(self, number: str) -> Ending:
        job = _fields(self._call(["scontrol", "show", "job", "--oneliner", number]).stdout)
        return _ending(job.get("JobState", ""), job.get("ExitCode", ""), job.get("StdOut", ""))

    def _from_accounting(self, number: str) -> Ending:
        command = ["sacct", "-nPX", "-j", number, "--format=State,ExitCode"]
        lines = self._call(command).stdout.splitlines()
        state, code = lines[-1].split("|") if lines else ("", "")
        return _ending(state, code)

    def _from_completions(self, number: str) -> Ending:
        config = self._call(["scontrol", "show", "config"]).stdout
        kind = re.search(r"^JobCompType\s*=\s*(\S+)", config, re.MULTILINE)
        path = re.search(r"^JobCompLoc\s*=\s*(\S+)", config, re.MULTILINE)
        if not (kind and path and kind[1] == "jobcomp/filetxt"):
            return Ending()
        with open(path[1], errors="replace") as file:
            for line in file:
                if line.startswith(f"JobId={number} "):
                    job = _fields(line)
                    return _ending(job.get("JobState", ""), job.get("ExitCode", ""))
        return Ending()

    def _call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return _call(command, self._seconds)


def _call(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command of SLURM; :class:`Unreachable` if it cannot be, or gives no answer in time."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches the driver only, which then cancels in good order
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise Unreachable(f"{command[0]}: {error}") from error


def has_slurm() -> bool:
    """Whether SLURM's commands are here."""
    return all(shutil.which(name) for name in ("sbatch", "squeue", "scancel", "scontrol"))


def is_configured(seconds: float = 10.0) -> bool:
    """Whether SLURM's commands know a cluster; where none answers, they may all the same.

    Parameters
    ----------
    seconds : float
        Longest time to wait for an answer.
    """
    try:
        asked = _call(["scontrol", "ping"], seconds)
    except Unreachable:
        return True
    return not re.search(NOWHERE, asked.stderr + asked.stdout)


def clean_environment() -> dict[str, str]:
    """Our environment without what would change SLURM's commands.

    SQUEUE_FORMAT and its like change what is printed. The driver may itself be a job: its own
    allocation (SLURM_*) must not be taken for what its jobs ask for.

    Examples
    --------
    >>> os.environ["SQUEUE_FORMAT"] = "%u"
    >>> "SQUEUE_FORMAT" in clean_environment()
    False
    """
    changing = re.compile(r"(SQUEUE|SACCT|SCANCEL|SCONTROL|SLURM)_|SBATCH_(ARRAY_INX|WAIT)$")
    env = {k: v for k, v in os.environ.items() if k in KEPT or not changing.match(k)}
    return env | {"LC_ALL": "C.UTF-8"}


def _message(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, in one line."""
    text = done.stderr or done.stdout or f"{done.args[0]} ended with code {done.returncode}"
    return " ".join(text.split())


def _fields(line: str) -> dict[str, str]:
    """Read ``Key=value`` pairs of scontrol and jobcomp/filetxt."""
    return dict(part.split("=", 1) for part in line.split() if "=" in part)


def _ending(state: str, code: str, log: str = "") -> Ending:
    """Read a state such as ``CANCELLED by 0`` and an exit code such as ``0:9``."""
    numbers = [int(n) for n in re.findall(r"\d+", code)] + [0, 0]
    name = state.split()[0].rstrip("+") if state.split() else ""
    return Ending(name, numbers[0], numbers[1], "" if log == "(null)" else log)
