"""What nodes run on and what they may use: by options, the plugin file, the allocation."""

from __future__ import annotations

import argparse

import attrs

from dmri7t.cli.device import resolve_device
from dmri7t.execution.limits import Resources, memory_gb, processors
from dmri7t.execution.plugin_file import LocalSettings, read_plugin_file
from dmri7t.execution.slurm.settings import SlurmSettings

MEMORY_SHARE = 0.9
"""Part of the memory that is used unless --mem says otherwise."""

CLUSTER_THREADS = 4
"""Processors of a job on a cluster unless --omp-nthreads says otherwise: what the machine has on
which the command was started says nothing."""


@attrs.frozen
class Allocation:
    """What a run may use.

    Parameters
    ----------
    resources : Resources or SlurmSettings
        What all nodes on this machine may use together, or how they become jobs.
    threads : int
        Of one node at most.
    device : {"cpu", "cuda"}
        Of the networks.
    asked : bool
        Whether so many threads were asked for.
    """

    resources: Resources | SlurmSettings
    threads: int
    device: str
    asked: bool = False

    def threads_beside(self, n_scans: int) -> int:
        """Threads of one node at most, where the nodes of so many scans can run side by side.

        No node keeps many threads busy all the time, and one that wants all processors waits
        until none is in use.

        Examples
        --------
        >>> alone = Allocation(Resources(n_procs=4, memory_gb=8), 4, "cpu")
        >>> alone.threads_beside(1), alone.threads_beside(2), alone.threads_beside(20)
        (4, 2, 1)
        >>> attrs.evolve(alone, asked=True).threads_beside(20)
        4
        """
        if self.asked or isinstance(self.resources, SlurmSettings):
            return self.threads
        return max(1, self.threads // n_scans)


def choose_plugin(args: argparse.Namespace) -> LocalSettings | SlurmSettings:
    """Read the plugin file, if there is one.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    return read_plugin_file(args.plugin_file) if args.plugin_file else LocalSettings()


def choose_resources(args: argparse.Namespace, plugin: LocalSettings | SlurmSettings) -> Allocation:
    """Decide what a run may use; an option of the command line goes before the plugin file.

    Raises
    ------
    DeviceError
        If a GPU was asked for and this machine, where it would be used, has none.
    """
    if isinstance(plugin, SlurmSettings):
        # the jobs' machines may have a GPU where this one has none: only asked for is it used
        device = "cuda" if args.device == "cuda" else "cpu"
        return Allocation(plugin, args.omp_nthreads or CLUSTER_THREADS, device)
    n_procs = args.nprocs or plugin.n_procs or processors()
    device = resolve_device(args.device)
    resources = Resources(
        # with one processor to give away, nodes take turns
        n_procs=1 if args.low_mem or plugin.one_by_one else n_procs,
        memory_gb=args.mem or plugin.memory_gb or MEMORY_SHARE * memory_gb(),
        n_gpus=(plugin.n_gpu_procs or 1) if device == "cuda" else 0,
    )
    threads = min(args.omp_nthreads or n_procs, n_procs)
    # with --low-mem one node runs at a time, whatever waits
    asked = bool(args.omp_nthreads) or resources.n_procs == 1
    return Allocation(resources, threads, device, asked)
