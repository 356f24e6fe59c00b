"""Run a workflow, here or on a cluster, and say truthfully how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dmri7t.execution.limits import Resources
from dmri7t.execution.pool import POLL_SECONDS
from dmri7t.execution.reasons import reason_of
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import LOGGERS, PRELOAD

LOG_LEVELS = (logging.ERROR + 1, logging.ERROR + 1, logging.INFO, logging.DEBUG)
"""Of nipype's loggers, by verbosity."""


def configuration(log_dir: Path, stop_on_first_crash: bool = False) -> dict[str, dict[str, str]]:
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
    resources: Resources | SlurmSettings,
    *,
    work_dir: Path,
    log_dir: Path,
    status: RunStatus | None = None,
    stop_on_first_crash: bool = False,
    write_graph: bool = False,
    verbose: int = 0,
    preload: Sequence[str] = PRELOAD,
    may_run: Callable[[Any], bool] | None = None,
) -> RunStatus:
    """Run a workflow to its end.

    Parameters
    ----------
    workflow : nipype Workflow
    participants : dict
        Label of each participant's sub-workflow, by the sub-workflow's name.
    resources : Resources or SlurmSettings
        What all nodes together may use on this machine; or how nodes become jobs of SLURM, each
        of which asks for what its node declares.
    work_dir, log_dir : Path
        For the nodes, and for the crash files.
    status : RunStatus, optional
        A record that already has participants that failed before the run.
    stop_on_first_crash : bool
        Stop everything when one node fails; otherwise all that does not depend on it goes on.
    write_graph : bool
        Draw the graph into ``work_dir``.
    verbose : int
        0 and 1: progress only; 2: nipype's log too; 3: its debugging log.
    preload : sequence of str
        Modules that are loaded once for all workers.
    may_run : callable, optional
        Whether a node may run, on this machine; any other must have its result from an earlier
        run, or its participant has failed.

    Returns
    -------
    RunStatus
        No exception is raised for a node that failed: it is in the status.
    """
    work_dir, log_dir = Path(work_dir), Path(log_dir)
    status = status or RunStatus()
    status.begin(participants, work_dir / workflow.name)
    level = LOG_LEVELS[min(verbose, len(LOG_LEVELS) - 1)]
    _configure(workflow, configuration(log_dir, stop_on_first_crash), level)
    workflow.base_dir = str(work_dir)
    if write_graph:
        _draw(workflow, status)
    try:
        while True:
            plugin = _plugin(resources, status, level, tuple(preload), may_run)
            try:
                workflow.run(plugin=plugin)
            except Exception:
                # before any node ran, since the graph of some participant cannot be used?
                begun = any(p.expected for p in status.participants.values())
                if begun or not _remove_unusable(workflow, participants, status):
                    raise
                continue
            break
    except Exception as error:
        # nipype raises the first failure again at the end: then all that could run has run
        stopped = "stopped, since a node of another failed (--stop-on-first-crash)"
        early = f"the run ended early: {reason_of(error)}"
        status.leave(participants.values(), stopped if stop_on_first_crash else early)
    except KeyboardInterrupt:
        status.leave(participants.values(), "interrupted")
        raise
    finally:
        status.close()
    return status


def _remove_unusable(workflow: Any, participants: dict[str, str], status: RunStatus) -> bool:
    """Take participants out of a graph whose own graphs cannot be expanded; say if there is a rest.

    Nipype looks at the inputs of all nodes at once: a file that was deleted since the graph was
    built would end the run of everybody.
    """
    from nipype.pipeline.engine.utils import generate_expanded_graph

    own = {name: workflow.get_node(name) for name in participants}
    unusable = []
    for name, graph in own.items():
        if graph is None:
            continue
        try:
            generate_expanded_graph(graph._create_flat_graph())
        except Exception as error:
            unusable.append(graph)
            status.crash_before(participants[name], error)
    workflow.remove_nodes(unusable)
    return bool(unusable) and bool(workflow.list_node_names())


def _configure(workflow: Any, settings: dict[str, dict[str, str]], level: int) -> None:
    from nipype import config

    # nipype takes a percent sign in a path for the beginning of a variable
    folder = settings["execution"]["crashdump_dir"]
    plain = {**settings["execution"], "crashdump_dir": folder.replace("%", "%%")}
    config.update_config({"execution": plain})
    # a workflow keeps a copy from when it was made
    workflow.config.setdefault("execution", {}).update(settings["execution"])
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)


def _plugin(
    resources: Resources | SlurmSettings,
    status: RunStatus,
    level: int,
    preload: tuple[str, ...],
    may_run: Callable[[Any], bool] | None,
) -> Any:
    """Nipype plugin that runs the nodes."""
    if isinstance(resources, SlurmSettings):
        from dmri7t.execution.slurm.plugin import SlurmPlugin

        return SlurmPlugin(resources, status, level)
    if may_run:
        from dmri7t.execution.redraw import RedrawPlugin

        return RedrawPlugin(may_run, resources, status, level, preload)
    from dmri7t.execution.local import LocalPlugin

    return LocalPlugin(resources, status, level, preload)


def _draw(workflow: Any, status: RunStatus) -> None:
    """Write the graph; without Graphviz the text of it only."""
    try:
        workflow.write_graph(graph2use="colored", format="svg", simple_form=True)
    except OSError as error:
        status.echo(f"the graph could not be drawn (is Graphviz installed?): {error}")
