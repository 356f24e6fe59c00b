"""A driver as a process of its own, which tests can disturb: SCENARIO FOLDER [NUMBER]."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attrs
from execution.test_run import add_one, fail, kill_self, node, participants

from dmri7t.execution.run import run_workflow
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus

QUICK = SlurmSettings(
    memory_factor=1.0,
    memory_base_gb=0.2,
    poll_seconds=0.5,
    watch_seconds=0.1,
    result_seconds=2.0,
    retry_seconds=1.0,
    outage_seconds=60.0,
    command_seconds=20.0,
)


def die(number):
    import os

    print("about to end", flush=True)
    os._exit(7)


def eat(number):
    """Take 800 MB and keep them."""
    import time

    kept = bytearray(800 * 2**20)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    time.sleep(60)
    return number


def wait(number, marker):
    """Count how often this ran, in files, and wait for word to end, five minutes at most."""
    import os
    import tempfile
    import time

    tempfile.mkstemp(dir=marker)
    deadline = time.monotonic() + 300
    while not os.path.exists(marker + "-go") and time.monotonic() < deadline:
        time.sleep(0.1)
    return number + 1


def allocation(use_gpu):
    """What SLURM gave to this node."""
    import os

    names = ("SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "CUDA_VISIBLE_DEVICES")
    threads = os.environ["OMP_NUM_THREADS"]
    return " ".join([*(str(os.environ.get(name)) for name in names), threads])


def with_args(made, sbatch_args):
    """Give a node options of its own, in Nipype's way."""
    made.plugin_args = {"sbatch_args": sbatch_args}
    return made


def faults(folder, number):
    """One participant a fault, and one without."""
    (folder / "marker").mkdir(exist_ok=True)
    marker = str(folder / "marker")

    def slow(name):
        return node(wait, name, number=1, marker=marker)

    chains = {
        "good": [node(add_one, "first", number=1), node(add_one, "second")],
        "raises": [node(fail, "broken", number=1)],
        "exits": [node(die, "broken", number=1)],
        "killed": [node(kill_self, "broken", number=1, times=9, marker=marker)],
        "once": [node(kill_self, "broken", number=1, times=1, marker=f"{marker}-once")],
        "fat": [node(eat, "broken", number=1)],
        "late": [with_args(slow("broken"), "--time=1")],
        "cancelled": [slow("broken")],
        "refused": [with_args(slow("broken"), "-p nowhere")],
        "gpu": [node(allocation, "ask", n_procs=2, use_gpu=True)],
    }
    Path(f"{marker}-once").mkdir(exist_ok=True)
    return participants(**chains)


def chain(folder, number):
    """Two nodes, the first of which waits for word to end."""
    (folder / "marker").mkdir(exist_ok=True)
    slow = node(wait, "slow", number=number, marker=str(folder / "marker"))
    return participants(a=[slow, node(add_one, "second")])


def run(top, labels, folder, settings=QUICK, **options):
    """Run a workflow on SLURM: its status, what was said, and how many seconds it took."""
    lines = []
    start = time.monotonic()
    status = run_workflow(
        top,
        labels,
        settings,
        work_dir=folder / "work",
        log_dir=folder / "logs",
        status=RunStatus(echo=lambda line: (lines.append(line), print(line, flush=True))),
        **options,
    )
    return status, lines, time.monotonic() - start


class Driver:
    """A driver in a process of its own."""

    def __init__(self, cluster, scenario: str, folder: Path, number: int = 1) -> None:
        self.folder = folder
        self._log = folder / f"driver-{time.monotonic_ns()}.log"
        tests = str(Path(__file__).parents[2])
        env = os.environ | cluster.variables
        env["PYTHONPATH"] = os.pathsep.join([tests, *sys.path])
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "execution.slurm.driver",
                    scenario,
                    str(folder),
                    str(number),
                ],
                env=env,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        """All that it printed so far."""
        return self._log.read_text()

    def wait(self, seconds: float = 120) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def wait_for(self, happens, seconds: float = 60) -> None:
        """Wait until something is so, which it must be in time."""
        deadline = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said()
            time.sleep(0.1)

    def wait_for_job(self, more_than: int = 0) -> None:
        """Wait until the slow node of a chain has begun to run."""
        marker = self.folder / "marker"
        self.wait_for(lambda: marker.is_dir() and len(os.listdir(marker)) > more_than)

    def let_go(self) -> None:
        """Let the slow node come to its end."""
        (self.folder / "marker-go").touch()

    def record(self) -> dict:
        """What it wrote at its end."""
        return json.loads((self.folder / "record.json").read_text())


if __name__ == "__main__":
    work = Path(sys.argv[2])
    status, _, _ = run(*globals()[sys.argv[1]](work, int(sys.argv[3])), work)
    failed = {p.label: attrs.asdict(f) for p in status.participants.values() for f in p.failures}
    done = [p.label for p in status.participants.values() if p.done]
    (work / "record.json").write_text(json.dumps({"failed": failed, "done": done}))
    raise SystemExit(status.exit_code)
