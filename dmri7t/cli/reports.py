"""Parts of the command that only write: reports drawn anew, and the methods text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from dmri7t.cli.messages import complain, say
from dmri7t.execution.limits import Resources
from dmri7t.execution.status import RunStatus

if TYPE_CHECKING:
    from nipype import Node, Workflow

PRELOAD = ("nipype.pipeline.engine", "nibabel", "dmri7t.reports")
"""What drawing reports needs: torch is not among it."""

ON_CLUSTER = Resources(n_procs=1, memory_gb=1.0)
"""What drawing reports may use where all else runs as jobs: it runs on this machine."""


def redraw(workflow: Workflow) -> Callable[[Node], bool]:
    """Have a graph draw its reports whether they are there or not.

    Returns
    -------
    callable
        Tells of a node whether it may run: nodes that only gather and draw.
    """
    from dmri7t.interfaces.collect import Collect
    from dmri7t.interfaces.report import GatherScan, WriteReport

    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if isinstance(node.interface, WriteReport):
            node.overwrite = True
    return lambda node: isinstance(node.interface, Collect | GatherScan | WriteReport)


def report_redrawn(status: RunStatus, failures: dict[str, int], out_dir: Path) -> int:
    """Print which reports were drawn and why others were not; return the exit code.

    Parameters
    ----------
    status : RunStatus
    failures : dict
        How many failures of a participant are printed already, by its label.
    out_dir : Path
        The derivative data set.
    """
    drawn = 0
    for label, participant in sorted(status.participants.items()):
        for failure in participant.failures[failures.get(label, 0) :]:
            complain(f"sub-{label}: {failure.reason}")
        if participant.done or participant.others_done:
            drawn += 1
            say(f"report: {out_dir / f'sub-{label}.html'}")
    return status.exit_code if drawn else 2


def run_folder(log_dir: Path) -> Path:
    """A folder for the texts of this run alone; runs of the same second have one each."""
    return log_dir / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid4().hex[:8]}"


def write_methods(workflow: Workflow, log_dir: Path) -> list[Path]:
    """Write the methods text of all scans of a graph."""
    from dmri7t.interfaces.report import GatherScan
    from dmri7t.reports.boilerplate import write_boilerplate

    nodes = [workflow.get_node(name).interface for name in workflow.list_node_names()]
    scans = [node.inputs for node in nodes if isinstance(node, GatherScan)]
    return write_boilerplate([(node.stem, node.methods) for node in scans], log_dir)
