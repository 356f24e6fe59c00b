"""Parts of the command that only write: reports drawn anew, and the methods text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dmri7t.execution.limits import Resources
from dmri7t.execution.status import RunStatus

PRELOAD = ("nipype.pipeline.engine", "nibabel", "dmri7t.reports")
"""What drawing reports needs: torch is not among it."""

ON_CLUSTER = Resources(n_procs=1, memory_gb=1.0)
"""What drawing reports may use where all else runs as jobs: it runs on this machine."""


def redraw(workflow: Any) -> Callable[[Any], bool]:
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


def tell_redrawn(
    status: RunStatus,
    told: dict[str, int],
    out_dir: Path,
    say: Callable[[str], None],
    complain: Callable[[str], None],
) -> int:
    """Say which reports were drawn and why others were not; return the exit code.

    Parameters
    ----------
    status : RunStatus
    told : dict
        How many failures of a participant the user knows of already.
    out_dir : Path
        The derivative data set.
    say, complain : callable
        Print a line to standard output, and to standard error.
    """
    drawn = 0
    for label, participant in sorted(status.participants.items()):
        for failure in participant.failures[told.get(label, 0) :]:
            complain(f"sub-{label}: {failure.reason}")
        if participant.done or participant.others_done:
            drawn += 1
            say(f"report: {out_dir / f'sub-{label}.html'}")
    return status.exit_code if drawn else 2


def write_methods(workflow: Any, log_dir: Path) -> list[Path]:
    """Write the methods text of all scans of a graph."""
    from dmri7t.interfaces.report import GatherScan
    from dmri7t.reports.boilerplate import write_boilerplate

    nodes = [workflow.get_node(name).interface for name in workflow.list_node_names()]
    gathered = [node.inputs for node in nodes if isinstance(node, GatherScan)]
    return write_boilerplate([(node.stem, node.methods) for node in gathered], log_dir)
