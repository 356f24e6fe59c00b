"""Run a workflow, here or on a cluster, and say truthfully how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dmri7t.execution.plugin_file import Local
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import PRELOAD

POLL_SECONDS = 0.05
"""Nipype's two seconds are paid at every node of a chain."""


def configuration(log_dir: Path, stop_on_first_crash: bool = False) -> dict:
    """Nipype's settings for us: caching by content, readable crash files, quick polls."""
    return {
        "execution": {
            "hash_method": "content",
            "crashfile_format": "txt",
            "crashdump_dir": str(log_dir),
            "poll_sleep_duration": str(POLL_SECONDS),
            "remove_unnecessary_outputs": "false",
            "stop_on_first_crash": str(stop_on_first_crash).lower(),
            "create_report": "false",
            "check_version": "false",
        }
    }


def run_workflow(
    workflow: Any,
    participants: dict[str, str],
    *,
    work_dir: Path,
    log_dir: Path,
    nprocs: int,
    mem_gb: float,
    n_gpus: int = 0,
    stop_on_first_crash: bool = False,
    write_graph: bool = False,
    verbose: int = 0,
    status: RunStatus | None = None,
    preload: Sequence[str] = PRELOAD,
    where: Local | SlurmSettings | None = None,
    may_run: Callable[[Any], bool] | None = None,
) -> RunStatus:
    """Run a workflow to its end.

    Parameters
    ----------
    workflow : nipype Workflow
    participants : dict
        Label of each participant's sub-workflow, by the sub-workflow's name.
    work_dir, log_dir : Path
        For the nodes, and for the crash files.
    nprocs, mem_gb, n_gpus
        What all nodes together may use.
    stop_on_first_crash : bool
        Stop everything when one node fails; otherwise all that does not depend on it goes on.
    write_graph : bool
        Draw the graph into ``work_dir``.
    verbose : int
        0: progress only; 1: nipype's log too; 2: its debugging log.
    status : RunStatus, optional
        A record that already knows of participants that failed before the run.
    preload : sequence of str
        Modules that are loaded once for all workers.
    where : Local or SlurmSettings, optional
        What a plugin file says; default: this machine. On SLURM, ``nprocs``, ``mem_gb`` and
        ``n_gpus`` have no meaning: every node's job asks for what the node declares.
    may_run : callable, optional
        Tells of a node whether it may run, on this machine; any other must have its result from
        an earlier run, or its participant has failed.

    Returns
    -------
    RunStatus
        No exception is raised for a node that failed: it is in the status.
    """
    from nipype import config

    work_dir, log_dir = Path(work_dir), Path(log_dir)
    status = status or RunStatus()
    status.begin(participants, work_dir / workflow.name)
    settings = configuration(log_dir, stop_on_first_crash)
    config.update_config(settings)
    # a workflow keeps a copy from when it was made
    workflow.config.setdefault("execution", {}).update(settings["execution"])
    level = {0: logging.ERROR + 1, 1: logging.INFO}.get(verbose, logging.DEBUG)
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(level)
    workflow.base_dir = str(work_dir)
    if write_graph:
        _draw(workflow, status)
    options = {"n_gpus": n_gpus, "log_level": level, "preload": tuple(preload)}
    if may_run:
        from dmri7t.execution.redraw import RedrawPlugin

        plugin = RedrawPlugin(may_run, nprocs, mem_gb, status, **options)
    elif isinstance(where, SlurmSettings):
        from dmri7t.execution.slurm.plugin import SlurmPlugin

        plugin = SlurmPlugin(where, status, log_level=level)
    else:
        from dmri7t.execution.local import LocalPlugin

        slots = 1 if where and where.one_by_one else nprocs
        plugin = LocalPlugin(slots, mem_gb, status, **options)
    known = _count_failures(status)
    try:
        workflow.run(plugin=plugin)
    except Exception as error:
        # nipype raises the first failure again at the end; what is not recorded yet is news
        if _count_failures(status) == known:
            for label in participants.values():
                status.fail_before(label, f"the run ended early: {error}")
    return status


def _count_failures(status: RunStatus) -> int:
    return sum(len(p.failures) for p in status.participants.values())


def _draw(workflow: Any, status: RunStatus) -> None:
    """Write the graph; without Graphviz the text of it only."""
    try:
        workflow.write_graph(graph2use="colored", format="svg", simple_form=True)
    except OSError as error:
        status.echo(f"the graph could not be drawn (is Graphviz installed?): {error}")
