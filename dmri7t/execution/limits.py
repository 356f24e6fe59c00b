"""What this process may use: processors and memory of the allocation, not of the machine."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import attrs

_CGROUP = Path("/sys/fs/cgroup")


@attrs.frozen
class Resources:
    """What all nodes of a run on this machine may use together.

    Parameters
    ----------
    n_procs : int
    memory_gb : float
        GiB.
    n_gpus : int
        Nodes that may use a GPU at the same time.
    """

    n_procs: int
    memory_gb: float
    n_gpus: int = 0


def processors() -> int:
    """Count the processors that are allowed: affinity, cgroup quota and SLURM's allocation."""
    counts = [len(os.sched_getaffinity(0))]
    counts += [max(1, math.floor(quota)) for quota in _cpu_quotas()]
    counts += [n for n in (_slurm_number("SLURM_CPUS_PER_TASK"),) if n]
    if not _slurm_number("SLURM_CPUS_PER_TASK"):
        counts += [n for n in (_slurm_number("SLURM_CPUS_ON_NODE"),) if n]
    return max(1, min(counts))


def memory_gb() -> float:
    """Memory in GiB that is allowed: the machine's, the cgroup's limit, SLURM's allocation."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += _memory_limits()
    per_node = _slurm_number("SLURM_MEM_PER_NODE")
    per_cpu = _slurm_number("SLURM_MEM_PER_CPU")
    if per_node:
        limits.append(per_node * 2**20)
    elif per_cpu:
        limits.append(per_cpu * 2**20 * (_slurm_number("SLURM_CPUS_ON_NODE") or 1))
    return min(limits) / 2**30


def address_space_gb() -> float:
    """Largest size in GiB of a process's addresses (``ulimit -v``); infinite where none is set."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if soft == resource.RLIM_INFINITY else soft / 2**30


def _slurm_number(name: str) -> int:
    """A number from SLURM's environment; 0 where it is not set or is no plain number."""
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else 0


def _cgroup_folders(controller: str) -> list[Path]:
    """This process's cgroup and its ancestors, which may hold limits of the controller."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controllers if controllers else _CGROUP
        own = root / inside.lstrip("/")
        folders += [own, *(p for p in own.parents if root in p.parents or p == root)]
    return folders


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cpu_quotas() -> list[float]:
    quotas = []
    for folder in _cgroup_folders("cpu"):
        both = _read(folder / "cpu.max").split()
        if not both:
            both = [_read(folder / f"cpu.cfs_{what}_us") for what in ("quota", "period")]
        if len(both) == 2 and both[0].isdigit() and both[1].isdigit() and int(both[1]):
            quotas.append(int(both[0]) / int(both[1]))
    return quotas


def _memory_limits() -> list[int]:
    limits = []
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _read(folder / name)
            if value.isdigit() and int(value):
                limits.append(int(value))
    return limits
