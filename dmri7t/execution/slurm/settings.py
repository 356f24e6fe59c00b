"""How nodes are run on SLURM: what a plugin file may set."""

from __future__ import annotations

import attrs

from dmri7t.execution.slurm.options import read_directives


@attrs.frozen
class SlurmSettings:
    """Settings of :class:`~dmri7t.execution.slurm.plugin.SlurmPlugin`; times are in seconds.

    Parameters
    ----------
    sbatch_args, gpu_sbatch_args : tuple of str
        Options of sbatch for all nodes, and more of them for those that use a GPU. They replace
        those made from a node where they name the same.
    template : str
        Beginning of every job's script, such as ``module load``.
    max_jobs : float
        Jobs in the queue at the same time.
    memory_factor, memory_base_gb : float
        A job asks for ``mem_gb * memory_factor + memory_base_gb`` GiB.
    poll_seconds : float
        Between questions to the controller.
    watch_seconds : float
        Between looks for a job's outcome in its folder.
    result_seconds : float
        How long to wait for the files of a job that has ended.
    retry_seconds : float
        Between attempts to submit while the controller is away.
    outage_seconds : float
        How long the controller may be away.
    command_seconds : float
        How long to wait for one of SLURM's commands.
    tries, lost : int
        How often a job is tried that leaves no outcome, and one whose machine fails.
    cancel_tries : int
        How often scancel is tried when the run is stopped.
    directives : tuple of str
        The template's own options, read from it.

    Raises
    ------
    InputError
        If the template has options that cannot be used.
    """

    sbatch_args: tuple[str, ...] = ()
    gpu_sbatch_args: tuple[str, ...] = ()
    template: str = "#!/bin/bash"
    max_jobs: float = float("inf")
    memory_factor: float = 1.2
    memory_base_gb: float = 0.5
    poll_seconds: float = 15.0
    watch_seconds: float = 1.0
    result_seconds: float = 120.0
    retry_seconds: float = 10.0
    outage_seconds: float = 3600.0
    command_seconds: float = 60.0
    tries: int = 2
    lost: int = 5
    cancel_tries: int = 5
    directives: tuple[str, ...] = attrs.field(init=False)

    @directives.default
    def _directives(self) -> tuple[str, ...]:
        return tuple(read_directives(self.template))
