"""What is done around a run: the estimate before it, the table and the cleaning after it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.messages import complain, say
from dmri7t.errors import InputError
from dmri7t.execution.cleanup import clean
from dmri7t.execution.display import Display, LiveBars, PlainLines, is_terminal
from dmri7t.execution.estimate import check_memory, check_room, estimate, size_gb
from dmri7t.execution.limits import Resources
from dmri7t.execution.reasons import reason_of
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.tally import Tally
from dmri7t.files import NAME_LENGTH, write_whole
from dmri7t.io.verify import find_fault

if TYPE_CHECKING:
    from nipype import Node, Workflow

    from niflow.dmri7t import ScanPlan

PATH_LENGTH = 4000
"""Longest path in bytes; Linux takes 4096, and parts of files have longer names for a while."""


def all_nodes(workflow: Workflow) -> dict[str, Node]:
    """Every node of a workflow and of those within it, by full name."""
    return {f"{workflow.name}.{n}": workflow.get_node(n) for n in workflow.list_node_names()}


def check_names(plan: ScanPlan, out_dir: Path) -> None:
    """See that the file system takes the names that a scan's results will have.

    Raises
    ------
    InputError
    """
    for name in plan.names.values():
        if len(os.fsencode(Path(name).name)) > NAME_LENGTH:
            raise InputError(
                f"{plan.scan.dwi}: its results would have names of more than {NAME_LENGTH} "
                f"characters, which no file can have ({Path(name).name[-40:]}); give it a shorter "
                "label."
            )
        if len(os.fsencode(out_dir / name)) > PATH_LENGTH:
            raise InputError(
                f"{out_dir}: its path is too long for the results of {plan.scan.stem}; choose "
                "an output folder with a shorter one."
            )


def announce_need(
    workflow: Workflow,
    plans: list[ScanPlan],
    args: argparse.Namespace,
    resources: Resources | SlurmSettings,
) -> float | None:
    """Print what the run needs, and how long it takes; warn where that may be too much.

    Returns
    -------
    float or None
        Seconds that the run will take about; None where jobs wait for a cluster, and for a GPU,
        for which nothing was measured.

    Raises
    ------
    InputError
        If there is certainly too little room on disk.
    """
    from niflow.dmri7t.steps import LEAST, foretell

    need = estimate(all_nodes(workflow), plans)
    say(f"The run {need.describe()}")
    present = size_gb(args.work_dir.resolve() / workflow.name)
    # a job on a cluster gets what its node declares
    memory_gb = resources.memory_gb if isinstance(resources, Resources) else float("inf")
    room = check_room(need, args.work_dir.resolve(), args.out_dir.resolve(), present)
    for warning in [*room, *check_memory(need, memory_gb, args.low_mem)]:
        complain(f"warning: {warning}")
    if not isinstance(resources, Resources) or plans[0].settings.device != "cpu":
        return None
    foretold = foretell(plans, resources.n_procs)
    say(f"It will take {foretold.describe()}")
    return foretold.all if foretold.each >= LEAST else None


def choose_display(verbose: int, foretold: float | None) -> Display | None:
    """What shows how far a run is: bars on a terminal, else lines; nothing beside other lines.

    Parameters
    ----------
    verbose : int
        How often -v was given.
    foretold : float or None
        Seconds that the run will take about.
    """
    from niflow.dmri7t.steps import describe_step

    tally = Tally(describe_step, foretold)
    if is_terminal() and verbose < 2:
        return LiveBars(tally)
    return None if verbose else PlainLines(tally, say)


def write_usage(workflow: Workflow, status: RunStatus, path: Path) -> None:
    """Write what every node took, and what it had declared, as a table."""
    declared = {status.split(name): node for name, node in all_nodes(workflow).items()}
    rows = ["participant\tnode\tstate\tseconds\tcpu_seconds\tpeak_gb\tdeclared_gb\tn_procs"]
    for label, participant in sorted(status.participants.items()):
        for record in participant.nodes.values():
            node = declared.get((label, record.name))
            asked = (f"{node.mem_gb:.3f}", str(node.n_procs)) if node else ("n/a", "n/a")
            took = (record.seconds, record.cpu_seconds, record.peak_gb)
            measured = (record.state, *(f"{value:.3f}" for value in took))
            rows.append("\t".join((f"sub-{label}", record.name, *measured, *asked)))
    write_whole(path, "\n".join(rows) + "\n")


def remove_unfinished(workflow: Workflow, status: RunStatus, out_dir: Path) -> list[str]:
    """Remove all results of a scan of which one could not be written; return what to say of it.

    What is left would look like a scan that is done. A run that was interrupted is another
    matter: it goes on where it stopped.
    """
    failed = {
        (label, failure.node.rpartition(".")[0])
        for label, participant in status.participants.items()
        for failure in participant.failures
    }
    names, left = set(), []
    for fullname, node in all_nodes(workflow).items():
        label, name = status.split(fullname)
        scan = name.rpartition(".")[0]
        if not scan or (label, scan) not in failed or not hasattr(node.interface, "targets"):
            continue
        for target in node.interface.targets():
            try:
                _remove(out_dir / target, out_dir)
            except OSError as error:
                left.append(f"a result of a scan that failed cannot be removed: {reason_of(error)}")
        names.add(f"sub-{label} {scan}")
    none = "one of its results could not be written, so none of them stays"
    return [*(f"{name}: {none}" for name in sorted(names)), *left]


def left_by_others(workflow: Workflow, plans: list[ScanPlan], out_dir: Path) -> list[str]:
    """Name results of these scans that lie there and that this run does not make.

    They are of a run with other options, such as the uncertainty of samples, and beside the new
    ones they would pass for theirs.
    """
    nodes = [node.interface for node in all_nodes(workflow).values()]
    made = {name for node in nodes if hasattr(node, "targets") for name in node.targets()}
    said = []
    for plan in plans:
        left = sorted(n for n in plan.names.values() if n not in made and (out_dir / n).is_file())
        if left:
            more = f" and {len(left) - 1} more beside it" if len(left) > 1 else ""
            said.append(
                f"warning: {out_dir / left[0]}{more}: of a run with other options, and not of this "
                "one; delete what is not to stay."
            )
    return said


def _remove(path: Path, out_dir: Path) -> None:
    """Remove a result, and the folders that are empty then."""
    # what is in the way of a file, or of its folder, is not ours
    if path.is_file() or path.is_symlink():
        path.unlink()
    for folder in path.parents:
        if folder == out_dir or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()


def clean_after(workflow: Workflow, status: RunStatus, args: argparse.Namespace) -> None:
    """Remove the nodes' folders once every result is known to be whole.

    A result that is not makes its participant a failed one, and the work folder stays.
    """
    if status.exit_code != 0:
        say("--clean-workdir: not all is done, so the work folder stays as it is.")
        return
    out_dir, work_dir = args.out_dir.resolve(), args.work_dir.resolve()
    nodes = all_nodes(workflow)
    written = {name: n.interface for name, n in nodes.items() if hasattr(n.interface, "targets")}
    count = 0
    for name, interface in written.items():
        for target in interface.targets():
            count += 1
            if fault := find_fault(out_dir / target, work_dir):
                label, _ = status.split(name)
                status.fail_before(label, f"{fault}; delete it and run the command again")
    if status.exit_code != 0:
        say("--clean-workdir: not all results are whole, so the work folder stays as it is.")
        return
    freed = clean(nodes, work_dir)
    say(f"--clean-workdir: {count} results are whole; {freed:.2g} GiB freed in {work_dir}")
