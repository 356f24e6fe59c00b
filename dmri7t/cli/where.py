"""Where nodes run and what they may use: options, the plugin file, the allocation."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from dmri7t.cli.device import resolve_device
from dmri7t.execution.limits import memory_gb, processors
from dmri7t.execution.plugin_file import Local, read_plugin_file
from dmri7t.execution.slurm.settings import SlurmSettings

MEMORY_SHARE = 0.9
"""Part of the memory that is used unless --mem says otherwise."""

CLUSTER_THREADS = 4
"""Processors of a job on a cluster unless --omp-nthreads says otherwise: what the machine has on
which the command was started says nothing."""


@dataclass(frozen=True)
class Where:
    """What was settled.

    Parameters
    ----------
    plugin : Local or SlurmSettings
        What the plugin file says.
    n_procs, memory_gb, n_gpus
        What all nodes on this machine may use together.
    threads : int
        Of one node at most.
    device : {"cpu", "cuda"}
        Of the networks.
    """

    plugin: Local | SlurmSettings
    n_procs: int
    memory_gb: float
    n_gpus: int
    threads: int
    device: str


def choose_plugin(args: argparse.Namespace) -> Local | SlurmSettings:
    """Read the plugin file, if there is one.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    return read_plugin_file(args.plugin_file) if args.plugin_file else Local()


def choose_where(args: argparse.Namespace, plugin: Local | SlurmSettings) -> Where:
    """Settle it; an option of the command line goes before the plugin file.

    Raises
    ------
    DeviceError
        If a GPU was asked for and this machine, where it would be used, has none.
    """
    if isinstance(plugin, SlurmSettings):
        # the jobs' machines may have a GPU where this one has none: only asked for is it used
        device = "cuda" if args.device == "cuda" else "cpu"
        return Where(plugin, 1, 1.0, 0, args.omp_nthreads or CLUSTER_THREADS, device)
    n_procs = args.nprocs or plugin.n_procs or processors()
    device = resolve_device(args.device)
    return Where(
        plugin,
        n_procs,
        args.mem or plugin.memory_gb or MEMORY_SHARE * memory_gb(),
        (plugin.n_gpu_procs or 1) if device == "cuda" else 0,
        min(args.omp_nthreads or n_procs, n_procs),
        device,
    )
