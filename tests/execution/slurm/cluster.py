"""A throw-away SLURM of one node on loopback: no systemd, no cgroups, nothing in /etc."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "setpriv")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
DefMemPerCPU=256
KillWait=1
MinJobAge=300
MessageTimeout=5
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=16000 Gres=gpu:1
PartitionName=test Nodes={host} Default=YES State=UP
"""
"""The node says that it has 16 processors: most nodes of the tests only sleep."""


def missing() -> list[str]:
    """Programs that are needed and not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


class Cluster:
    """Start, disturb and stop it; its daemons die with this process, however that ends."""

    def __init__(self) -> None:
        # not below pytest's folders: the path of a socket must be short
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self._daemons: dict[str, subprocess.Popen] = {}
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        controller_port, node_port = _free_ports(2)
        host = socket.gethostname().split(".")[0]
        self._config = self.folder / "slurm.conf"
        self._config.write_text(
            CONFIG.format(
                host=host,
                user=getpass.getuser(),
                folder=self.folder,
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        # a pretence: there is something to be scheduled
        (self.folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")
        self.variables = {"SLURM_CONF": str(self._config)}

    def start(self) -> None:
        """Start everything; return when jobs can be submitted."""
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        paths = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._spawn("munged", "--foreground", "--force", *paths)
        _wait_for((self.folder / "munge.sock").exists, 10, self._logs)
        self.start_controller(anew=True)
        self._spawn("slurmd", "-D")
        _wait_for(lambda: self.call("sinfo", "-ho", "%T").strip() == "idle", 30, self._logs)

    def start_controller(self, anew: bool = False) -> None:
        """Start the controller, with the jobs that it knew unless they are to be forgotten."""
        self._spawn("slurmctld", "-D", *(["-c"] if anew else []))

    def stop_controller(self) -> None:
        """An outage: jobs go on, but nobody answers."""
        controller = self._daemons.pop("slurmctld")
        controller.terminate()
        controller.wait(20)

    def stop(self) -> None:
        """End jobs and daemons and remove all files."""
        if "slurmctld" in self._daemons:
            self.call("scancel", f"--user={os.getuid()}", "--signal=KILL", "--full")
            self.call("scancel", f"--user={os.getuid()}")
            time.sleep(0.5)
        for name in ("slurmctld", "slurmd", "munged"):
            if daemon := self._daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(5)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *command: str) -> str:
        """Run one of SLURM's commands; what it printed, whether it failed or not."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SQUEUE_"))}
        done = subprocess.run(
            command, env=env | self.variables, capture_output=True, text=True, timeout=30
        )
        return done.stdout

    def job_names(self, states: str = "PENDING,RUNNING") -> list[str]:
        """Names of the jobs in these states."""
        return self.call("squeue", "-ho", "%j", f"--states={states}").split()

    def _spawn(self, name: str, *args: str) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with open(self.folder / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", shutil.which(name, path=path), *args],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _logs(self) -> str:
        files = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "\n".join(f"{f.name}:\n{f.read_text(errors='replace')[-2000:]}" for f in files)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(happens, seconds: float, explain) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)
