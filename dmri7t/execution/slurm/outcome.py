"""Why a job left no outcome, told from what SLURM says and from the job's own log."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from dmri7t.execution.slurm.client import Ending
from dmri7t.execution.slurm.job import JobFiles, last_lines

OUT_OF_MEMORY = re.compile(
    r"^slurmstepd\S* .*(oom.?kill|exceeded (job |step )?memory limit|out of memory)",
    re.IGNORECASE | re.MULTILINE,
)
OUT_OF_TIME = re.compile(r"^slurmstepd\S* .*DUE TO TIME LIMIT", re.MULTILINE)

NEVER = re.compile(
    r"DependencyNeverSatisfied|BadConstraints|PartitionTimeLimit|PartitionNodeLimit|"
    r"PartitionConfig|InvalidAccount|InvalidQOS|\w+PerJob\w*|launch failed requeued held"
)
"""Reasons for waiting that no waiting will end."""


@dataclass(frozen=True)
class Fate:
    """What happened to a job.

    Parameters
    ----------
    reason : str
        One line.
    log : str
        Last lines of its log, with its path.
    lost : bool
        SLURM took it off its machine, which says nothing about the job.
    final : bool
        Another attempt would end the same way, or somebody does not want one.
    memory : bool
        It was killed for memory.
    """

    reason: str
    log: str
    lost: bool = False
    final: bool = False
    memory: bool = False


def never_starts(reason: str) -> bool:
    """Whether a job that waits for this reason waits in vain.

    Examples
    --------
    >>> never_starts("Priority"), never_starts("PartitionTimeLimit")
    (False, True)
    """
    return bool(NEVER.fullmatch(reason.strip("()")))


def judge(number: str, ending: Ending, files: JobFiles) -> Fate:
    """Say why a job left no outcome.

    Parameters
    ----------
    number : str
    ending : Ending
        What SLURM still knew of it.
    files : JobFiles
    """
    path = files.log(number)
    if not path.exists() and ending.log:
        path = Path(ending.log)
    lines = last_lines(path)
    text = "\n".join(lines)
    quoted = f"The log of job {number}, {path}, ends:\n  " + "\n  ".join(lines)
    log = quoted if lines else f"Job {number} left no log ({path})."
    last = f'; its log ends: "{lines[-1]}"' if lines else "; it left no log"
    who = f"job {number}"
    if ending.state == "OUT_OF_MEMORY" or OUT_OF_MEMORY.search(text):
        reason = f"{who} was killed for memory: raise --mem in sbatch_args{last}"
        return Fate(reason, log, memory=True)
    if ending.state in ("TIMEOUT", "DEADLINE") or OUT_OF_TIME.search(text):
        reason = f"{who} was killed at its time limit: raise --time in sbatch_args{last}"
        return Fate(reason, log, final=True)
    if ending.state == "CANCELLED":
        return Fate(f"{who} was cancelled by somebody (scancel){last}", log, final=True)
    if ending.state in ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"):
        return Fate(f"{who} lost its machine ({ending.state}){last}", log, lost=True)
    return Fate(f"{who} ended without a result{_how(ending)}{last}", log)


def _how(ending: Ending) -> str:
    """How a process ended, in words; shells report a signal as a code above 128."""
    number = ending.signal or (ending.code - 128 if ending.code > 128 else 0)
    if number:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f", killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    if ending.state == "":
        return ", and SLURM does not know it any more"
    return f", with exit code {ending.code}"
