"""What a run will need, before it runs: memory of its largest node, room on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from dmri7t.errors import InputError

if TYPE_CHECKING:
    from nipype import Node

SURE_FRACTION = 0.1
"""Every brain fills this fraction of its image at least: less room than it needs is too little."""

FULL_FRACTION = 0.45
"""A brain that nearly fills its image: it sets what a run may need at most."""


@attrs.frozen
class Need:
    """What a run needs.

    Parameters
    ----------
    memory_gb : float
        Of the largest node, GiB; nodes side by side share what --mem allows.
    node : str
        Name of that node.
    work_gb, out_gb : float
        Room in the work folder and for the results, GiB, at most.
    sure_work_gb, sure_out_gb : float
        Less room than this is certainly too little.
    """

    memory_gb: float
    node: str
    work_gb: float
    out_gb: float
    sure_work_gb: float
    sure_out_gb: float

    def describe(self) -> str:
        """Write as a line."""
        return (
            f"needs about {self.memory_gb:.1f} GiB of memory (largest node: {self.node}), "
            f"up to {self.work_gb:.2g} GiB in the work folder, up to {self.out_gb:.2g} GiB for "
            "results"
        )


class Planned(Protocol):
    """A scan that is planned: how much room it will take, GiB.

    Both take the fraction of its image that the brain fills.
    """

    def work_gigabytes(self, fraction: float) -> float:
        """In the work folder."""

    def result_gigabytes(self, fraction: float) -> float:
        """For its results."""


def estimate(nodes: Mapping[str, Node], plans: Iterable[Planned]) -> Need:
    """Estimate a run.

    Parameters
    ----------
    nodes : dict of nipype Node
        Of the whole graph, by full name.
    plans : iterable of ScanPlan
        Of all scans.
    """
    name, largest = max(nodes.items(), key=lambda item: item[1].mem_gb)
    plans = list(plans)
    rooms = [
        room
        for fraction in (FULL_FRACTION, SURE_FRACTION)
        for room in (
            sum(plan.work_gigabytes(fraction) for plan in plans),
            sum(plan.result_gigabytes(fraction) for plan in plans),
        )
    ]
    return Need(largest.mem_gb, name.split(".", 1)[-1], *rooms)


def find_free(path: Path) -> tuple[int, float]:
    """Device on which a folder lies or will lie, and its free room in GiB."""
    present = next(p for p in (path, *path.parents) if p.exists())
    return os.stat(present).st_dev, shutil.disk_usage(present).free / 2**30


def size_gb(folder: Path, alone: bool = False) -> float:
    """Size of all files below a folder, GiB; ``alone``: of those that no other name keeps."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.lstat(os.path.join(root, name))
            except OSError:
                continue
            if not alone or stat.st_nlink == 1:
                total += stat.st_size
    return total / 2**30


def check_room(need: Need, work_dir: Path, out_dir: Path, present_gb: float = 0.0) -> list[str]:
    """Compare the need with the free room on disk.

    Parameters
    ----------
    need : Need
    work_dir, out_dir : Path
    present_gb : float
        What an earlier run of the same left in the work folder.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    InputError
        If there is certainly too little room.
    """
    disks: dict[int, _Disk] = {}
    work = (work_dir, need.work_gb - present_gb, need.sure_work_gb - present_gb)
    for path, most_gb, least_gb in (work, (out_dir, need.out_gb, need.sure_out_gb)):
        device, free_gb = find_free(path)
        disk = disks.setdefault(device, _Disk(path, free_gb))
        disk.most_gb += max(most_gb, 0.0)
        disk.least_gb += max(least_gb, 0.0)
    warnings = []
    for disk in disks.values():
        free = f"{disk.path}: {_gb(disk.free_gb)} GiB are free, and this run"
        if disk.least_gb > disk.free_gb:
            raise InputError(
                f"{free} needs {_gb(disk.least_gb)} GiB at least; make room, choose another -w, "
                "or run fewer participants at a time."
            )
        if disk.most_gb > disk.free_gb:
            warnings.append(
                f"{free} may need {_gb(disk.most_gb)} GiB; make room or run fewer participants "
                "at a time."
            )
    return warnings


@attrs.define
class _Disk:
    """A file system: a folder on it, its free room, and what a run needs of it, GiB."""

    path: Path
    free_gb: float
    most_gb: float = 0.0
    least_gb: float = 0.0


def check_memory(need: Need, allowed_gb: float, low_mem: bool) -> list[str]:
    """Warn where the largest node needs more than is allowed."""
    if need.memory_gb <= allowed_gb:
        return []
    hint = "" if low_mem else " --low-mem needs less, and takes longer:"
    return [
        f"{need.node} may need {need.memory_gb:.1f} GiB of memory, and {allowed_gb:.1f} GiB are "
        f"allowed;{hint} allow more by --mem where the machine has it."
    ]


def _gb(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
