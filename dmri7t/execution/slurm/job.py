"""The files of a node's job, and what runs in it: ``python -m dmri7t.execution.slurm.job``."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from dmri7t.execution.memory import keep_freed
from dmri7t.execution.result import NodeResult
from dmri7t.execution.workers import THREAD_VARIABLES, peak_gb, pin_threads
from dmri7t.files import write_whole

LOG_LINES = 20
"""Last lines of a job's log that are quoted."""


@attrs.frozen
class Outcome:
    """What a job left: how its node's run ended.

    Parameters
    ----------
    job : str
        Number of the job.
    host : str
        Machine on which it ran.
    traceback : list of str, optional
        None where all went well.
    seconds, peak_gb, cpu_seconds : float
        Run time, largest resident memory in GiB, and seconds of processors.
    """

    job: str
    host: str
    traceback: list[str] | None
    seconds: float
    peak_gb: float
    cpu_seconds: float = 0.0

    def result(self) -> NodeResult:
        """The same in Nipype's form."""
        return {
            "result": None,
            "traceback": self.traceback,
            "seconds": self.seconds,
            "peak_gb": self.peak_gb,
            "cpu_seconds": self.cpu_seconds,
        }


@attrs.frozen
class JobFiles:
    """Files that driver and job share: a folder of the node's, beside the nodes' own.

    Nipype empties a node's own folder when the node starts.

    Parameters
    ----------
    folder : Path
    key : str
        Names the node's folder: two drivers in the same work folder make the same one.
    inputs : str
        Names what the node computes.
    """

    folder: Path
    key: str
    inputs: str

    @classmethod
    def of(cls, node: Any) -> JobFiles:
        """Files of a node whose predecessors have run."""
        _, digest = node._get_hashval()
        key = hashlib.sha256(node.output_dir().encode()).hexdigest()[:16]
        top = Path(node.base_dir, *(node._hierarchy or "").split(".")[:1])
        return cls(top / "slurm" / f"{node.fullname[-80:]}-{key[:8]}", key, digest[:12])

    @property
    def job_name(self) -> str:
        """Name of the job: the same for the same node and inputs, whoever submits it."""
        return f"dmri7t.{self.key}.{self.inputs}"

    @property
    def outcome_file(self) -> Path:
        """Written last, whole or not at all."""
        return self.folder / f"outcome-{self.inputs}.json"

    @property
    def script(self) -> Path:
        """What sbatch is given."""
        return self.folder / f"job-{self.inputs}.sh"

    @property
    def log_pattern(self) -> str:
        """Of what the job prints, in sbatch's form."""
        return str(self.folder).replace("%", "%%") + "/job-%j.log"

    def log(self, number: str) -> Path:
        """What a job printed."""
        return self.folder / f"job-{number}.log"

    def write(self, node: Any, updatehash: bool, template: str) -> None:
        """Write node and script; the outcome of an earlier job is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.outcome_file.unlink(missing_ok=True)
        pickled = self.folder / f"node-{self.inputs}.pkl"
        write_whole(pickled, pickle.dumps((node, updatehash)))
        threads = "\n".join(f"export {name}={node.n_procs}" for name in THREAD_VARIABLES)
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        command = [sys.executable, "-m", __name__, str(pickled), str(self.outcome_file)]
        lines = [
            template.rstrip("\n"),
            f"# {node.fullname}",
            threads,
            # the driver's, whatever sbatch's --export leaves of the environment
            f"export PYTHONPATH={shlex.quote(path)}",
            f"exec {shlex.join(command)}",
        ]
        write_whole(self.script, "\n".join(lines) + "\n")

    def outcome(self, number: str) -> Outcome | None:
        """What the job of a number left; nothing as long as it has not ended by itself."""
        try:
            # listing a folder makes a network file system look again
            os.listdir(self.folder)
            outcome = Outcome(**json.loads(self.outcome_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return outcome if outcome.job == number else None


def last_lines(log: Path) -> list[str]:
    """Last lines of a log, without empty ones; none where it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LOG_LINES:]


def _run(pickled: Path) -> Outcome:
    """Run a node; whatever goes wrong in Python is in the outcome."""
    start = time.perf_counter()
    lines: list[str] | None
    try:
        os.environ.setdefault("NIPYPE_NO_ET", "1")
        node, updatehash = pickle.loads(pickled.read_bytes())
        pin_threads(node.n_procs)
        keep_freed()
        from nipype.pipeline.plugins.multiproc import run_node

        lines = run_node(node, updatehash, 0)["traceback"]
    except BaseException:
        import traceback

        lines = traceback.format_exc().splitlines(keepends=True)
    return Outcome(
        job=os.environ.get("SLURM_JOB_ID", ""),
        host=socket.gethostname(),
        traceback=lines,
        seconds=time.perf_counter() - start,
        peak_gb=peak_gb(),
        cpu_seconds=time.process_time(),
    )


def main(pickled: str, outcome_file: str) -> int:
    """Run the node of a file and write its outcome; return the job's exit code."""
    outcome = _run(Path(pickled))
    print("".join(outcome.traceback or ["done\n"]), flush=True)
    write_whole(Path(outcome_file), json.dumps(attrs.asdict(outcome)))
    return 1 if outcome.traceback else 0


if __name__ == "__main__":
    # without Python's own clean-up, which a library's threads may block
    os._exit(main(*sys.argv[1:]))
