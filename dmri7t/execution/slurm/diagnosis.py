"""Why a job left no outcome, by what SLURM says and by the job's own log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import attrs

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
"""Reasons for waiting that never end."""


@attrs.frozen
class Diagnosis:
    """Why a job left no outcome.

    Parameters
    ----------
    reason : str
        One line.
    log : str
        Last lines of its log, with its path.
    lost : bool
        It lost its machine, which says nothing about the job.
    final : bool
        Another attempt would end the same way, or was ruled out by somebody.
    memory : bool
        It was killed because it used too much memory.
    """

    reason: str
    log: str
    lost: bool = False
    final: bool = False
    memory: bool = False


def never_starts(reason: str) -> bool:
    """Whether a job that waits for this reason will never start.

    Examples
    --------
    >>> never_starts("Priority"), never_starts("PartitionTimeLimit")
    (False, True)
    """
    return bool(NEVER.fullmatch(reason.strip("()")))


def diagnose(number: str, ending: Ending, files: JobFiles) -> Diagnosis:
    """Say why a job left no outcome.

    Parameters
    ----------
    number : str
    ending : Ending
        What SLURM remembered of it.
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
    job = f"job {number}"
    if ending.state == "OUT_OF_MEMORY" or OUT_OF_MEMORY.search(text):
        reason = f"{job} was killed for memory: raise --mem in sbatch_args{last}"
        return Diagnosis(reason, log, memory=True)
    if ending.state in ("TIMEOUT", "DEADLINE") or OUT_OF_TIME.search(text):
        reason = f"{job} was killed at its time limit: raise --time in sbatch_args{last}"
        return Diagnosis(reason, log, final=True)
    if ending.state == "CANCELLED":
        return Diagnosis(f"{job} was cancelled by somebody (scancel){last}", log, final=True)
    if ending.state in ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"):
        return Diagnosis(f"{job} lost its machine ({ending.state}){last}", log, lost=True)
    return Diagnosis(f"{job} ended without a result{_ending_words(ending)}{last}", log)


def _ending_words(ending: Ending) -> str:
    """How a process ended, in words; shells report a signal as a code above 128."""
    number = ending.signal or (ending.code - 128 if ending.code > 128 else 0)
    if number:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f", killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    if ending.state == "":
        return ", and SLURM has forgotten it"
    return f", with exit code {ending.code}"
